"""Imports go down only, and the contracts that say so are able to fail."""

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "holdfast"
LINT_IMPORTS = Path(sys.executable).parent / "lint-imports"
CLOCKS_AND_CHANCE = {"now", "utcnow", "today", "monotonic", "perf_counter", "uuid1", "uuid4", "urandom", "getenv"}


def lint(config: Path, source: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LINT_IMPORTS, "--config", config, "--no-cache"],
        cwd=source,
        env={"PYTHONPATH": str(source), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_import_contract_is_kept() -> None:
    linted = lint(ROOT / "pyproject.toml", ROOT / "src")
    assert linted.returncode == 0, linted.stdout + linted.stderr


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("core/planted.py", "import asyncio", "The core decides"),
        ("core/planted.py", "import time", "The core decides"),
        ("core/planted.py", "import psycopg", "The core decides"),
        ("core/planted.py", "import holdfast.ports", "Imports go down only"),
        ("ports/planted.py", "import aiokafka", "A port is words"),
        ("app/planted.py", "import holdfast.adapters", "Imports go down only"),
        ("adapters/planted.py", "import holdfast.app", "Imports go down only"),
        ("adapters/planted.py", "import holdfast.sdk", "An adapter translates"),
        ("app/planted.py", "import holdfast.http", "Imports go down only"),
        ("http/planted.py", "import holdfast.app", "Imports go down only"),
        ("sdk/planted.py", "import holdfast.app", "Imports go down only"),
        ("app/executor/planted.py", "import holdfast.app.effects", "The rooms of app/"),
        ("app/worker/planted.py", "import holdfast.app.orchestrator", "The rooms of app/"),
    ],
)
def test_a_planted_wrong_import_is_found(module: str, line: str, contract: str, tmp_path: Path) -> None:
    """Only the packages' frames are copied: the planted line is the one import there is."""
    rooms = ("app/client", "app/orchestrator", "app/worker", "app/effects", "app/executor")
    for package in ("", "core", "ports", "sdk", "app", *rooms, "adapters", "http", "testing", "cli"):
        folder = tmp_path / "holdfast" / package
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").touch()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "holdfast" / module).write_text(f"{line}\n")

    linted = lint(tmp_path / "pyproject.toml", tmp_path)

    assert linted.returncode == 1, linted.stdout + linted.stderr
    assert any(contract in told and told.endswith("BROKEN") for told in linted.stdout.splitlines()), linted.stdout


def test_core_imports_the_standard_library_and_frozen_values_and_nothing_else() -> None:
    foreign = {name for name in imports_of(SOURCE / "core") if name not in sys.stdlib_module_names}
    assert foreign <= {"holdfast", "msgspec", "rpds"}


def test_core_reads_no_clock_and_draws_no_number() -> None:
    calls = {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.func.attr}"
        for path in SOURCE.glob("core/**/*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CLOCKS_AND_CHANCE
    }
    assert not calls


def imports_of(folder: Path) -> Iterator[str]:
    """The top-level names that the modules of `folder` import."""
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Import(names=names):
                    yield from (alias.name.partition(".")[0] for alias in names)
                case ast.ImportFrom(module=str(module), level=0):
                    yield module.partition(".")[0]
                case ast.ImportFrom():
                    yield "holdfast"
                case _:
                    pass
