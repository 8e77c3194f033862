"""An application that cannot be imported: the line that says so, and what to do."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.cli.apps import load_app
from holdfast.cli.failures import CommandFailed, line

FLOW = "from holdfast import workflow\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to stand in, which holds `shop/wf.py`, `shop/helper.py` and `solo.py`."""
    folder = tmp_path / "home"
    (folder / "shop").mkdir(parents=True)
    for name in ("shop/wf.py", "shop/helper.py", "solo.py"):
        (folder / name).write_text(FLOW)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        del sys.modules[name]


def said_of(app: str) -> str:
    with pytest.raises(CommandFailed) as failed:
        load_app(app)
    return line(failed.value)


def test_a_module_of_a_folder_without_init_is_found_from_the_folder_that_holds_it(folder: Path) -> None:
    assert load_app("shop.wf").__name__ == "shop.wf"


def test_from_within_its_folder_it_says_where_to_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder / "shop")
    assert said_of("shop.wf").endswith("run it in the folder that holds shop/ (cd ..), or here: holdfast dev wf.py")


def test_from_above_or_below_it_says_where_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert said_of("shop.wf").endswith(f"it is in {folder}: run it there")
    (folder / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(folder / "deep" / "er")
    assert said_of("shop.wf").endswith(f"it is in {folder}: run it there")


def test_a_file_is_no_package(folder: Path) -> None:
    assert said_of("solo.wf").endswith("solo.py is a file and no package: holdfast dev solo.py")


def test_another_package_of_the_name_is_told(folder: Path) -> None:
    (folder / "json").mkdir()
    (folder / "json" / "wf.py").write_text(FLOW)
    assert "another package is named json: add json/__init__.py, or: holdfast dev json/wf.py" in said_of("json.wf")


def test_what_is_nowhere_is_said_to_be_missing(folder: Path) -> None:
    assert said_of("nowhere.wf").endswith("on PYTHONPATH); a file ends in .py")


def test_an_import_of_what_stands_beside_it_is_helped(folder: Path) -> None:
    (folder / "shop" / "app.py").write_text("import helper\n")
    said = said_of("shop.app")
    assert "shop/app.py:1: ModuleNotFoundError: No module named 'helper'; helper stands beside it" in said
    assert said.endswith("write from shop import helper, or from . import helper")


def test_a_relative_import_of_a_file_without_a_package_is_helped(folder: Path) -> None:
    (folder / "shop" / "app.py").write_text("from .helper import x\n")
    assert said_of("shop/app.py").endswith("holdfast dev FOLDER.FILE, in the folder that holds FOLDER/")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("x = (\n", "app.py:1: SyntaxError: '(' was never closed"),
        ("raise ValueError('one\\ntwo')\n", "app.py:1: ValueError: one two"),
        ("error = ValueError('it')\nerror.add_note('a note')\nraise error\n", "app.py:3: ValueError: it"),
        ("raise SystemExit(3)\n", "app.py:1: SystemExit: 3"),
        ("raise ValueError('\\x1b[2J')\n", "app.py:1: ValueError: \\x1b[2J"),
        ("raise type('Odd', (Exception,), {'__str__': lambda _: 1 / 0})\n", "<exception str() failed>"),
    ],
)
def test_what_the_file_raises_is_told_in_one_line(folder: Path, code: str, said: str) -> None:
    (folder / "app.py").write_text(code)
    told = said_of("app.py")
    assert said in told
    assert told.isprintable()


def test_a_step_that_is_an_attribute_of_a_class_is_told_in_every_version_of_python(folder: Path) -> None:
    (folder / "app.py").write_text(
        "from holdfast import step\n\ndef apps_read() -> int: return 1\n\nclass Shop: read = step(apps_read)\n"
    )
    said = said_of("app.py")
    assert "TypeError: @step apps_read (app.py:3): as Shop.read it would be called like a method" in said
