"""The command line without a server: usage, settings, the author's file."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from holdfast.cli import main
from holdfast.cli.apps import load_app
from holdfast.cli.asking import json_of
from holdfast.cli.failures import CommandFailed
from holdfast.cli.topics import instant
from holdfast.sdk import definitions

Run = Callable[..., Result]

MICROS = 1_000_000
NOON = 1_795_435_200 * MICROS  # 2026-11-23T12:00:00Z


@pytest.fixture
def holdfast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in an empty folder, with no settings from outside."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # an application's folder is put there
    for name in [name for name in os.environ if name.startswith("HOLDFAST_")]:
        monkeypatch.delenv(name)

    def run(*arguments: str, stdin: str | None = None, **environment: str) -> Result:
        return CliRunner().invoke(main, list(arguments), input=stdin, env=environment)

    return run


def complaint(result: Result, code: int) -> str:
    """The one line on stderr of a command that failed as it should."""
    assert result.exit_code == code, result.output
    assert result.stderr.startswith("holdfast: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output
    return result.stderr


def all_commands() -> list[tuple[str, ...]]:
    names: list[tuple[str, ...]] = []
    for name, command in main.commands.items():
        names.append((name,))
        if isinstance(command, click.Group):
            names.extend((name, below) for below in command.commands)
    return names


def test_help_names_every_command_and_the_exit_codes(holdfast: Run) -> None:
    result = holdfast("--help")

    assert result.exit_code == 0
    for names in all_commands():
        assert f"\n  {names[0]} " in result.stdout
    assert "Exit codes" in result.stdout
    assert holdfast().stdout == result.stdout


@pytest.mark.parametrize("names", all_commands(), ids=" ".join)
def test_the_help_of_every_command_teaches_with_an_example(holdfast: Run, names: tuple[str, ...]) -> None:
    result = holdfast(*names, "--help")

    assert result.exit_code == 0
    if names not in {("dlq",), ("ledger",)}:  # words, not commands
        examples = [line for line in result.stdout.splitlines() if line.startswith("      ")]
        assert any(f"holdfast {' '.join(names)}" in line for line in examples)


def test_the_version_is_that_of_the_package(holdfast: Run) -> None:
    assert holdfast("--version").stdout.startswith("holdfast 0.")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bogus"], "No such command 'bogus'"),
        (["start"], "Missing argument 'WORKFLOW'"),
        (["start", "tea", "--bogus"], "No such option"),
        (["start", "tea", "--input", "Ada"], "--input is not JSON"),
        (["start", "tea", "--attribute", "shop"], "--attribute 'shop' is not NAME=VALUE"),
        (["terminate", "order-1"], "Missing option '--reason'"),
        (["list", "--status", "LOST"], "'LOST' is not one of"),
        (["dlq", "redrive"], "--filter F, or --all"),
        (["dlq", "redrive", "--all", "--filter", "run=r"], "--filter F, or --all"),
        (["republish", "--since", "1h"], "one of --outcomes and --events"),
        (["republish", "--since", "1h", "--events", "--outcomes"], "one of --outcomes and --events"),
        (["worker", "app.py", "--queue", "high/cnc"], "--queue='high/cnc': 1 to 100 of A-Z a-z 0-9"),
        (["start", "tea", "--attribute", "shop=\udcff"], "attribute 'shop' has a character that cannot be stored"),
        (["signal", "tea-1", "\udcff"], "signal has a character that cannot be stored"),
        (["worker", "app.py"], "orchestrator and worker are one process"),
        (["dev", "app.py", "--concurrency", "0"], "0 is not in the range"),
        (["list", "--store", "mysql://h"], "--store (option) is 'mysql://h'"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(holdfast: Run, arguments: list[str], said: str) -> None:
    assert said in complaint(holdfast(*arguments), 2)


def test_dev_is_for_one_file_and_names_the_setting_that_says_otherwise(holdfast: Run) -> None:
    result = holdfast("dev", "app.py", HOLDFAST_STORE="postgresql://h/x", HOLDFAST_LOG="kafka://h:1")

    assert "HOLDFAST_LOG (environment) is kafka://h:1: use holdfast run app.py" in complaint(result, 2)


def test_wrong_settings_are_the_settings_fault(holdfast: Run) -> None:
    said = complaint(holdfast("show", "order-1", HOLDFAST_SHARDS="many"), 2)

    assert said.startswith("holdfast: your settings: HOLDFAST_SHARDS (environment) is 'many'")


def test_settings_prints_value_and_origin_with_secrets_masked(holdfast: Run, tmp_path: Path) -> None:
    (tmp_path / "holdfast.toml").write_text('[holdfast]\nnamespace = "shop"\n')

    result = holdfast("--keys", "redis://:geheim@h/0", "settings", HOLDFAST_STORE="postgresql://u:geheim@h/x")

    assert result.exit_code == 0
    assert "geheim" not in result.output
    rows = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines()}
    assert rows["HOLDFAST_NAMESPACE"] == ["shop", "holdfast.toml"]
    assert rows["HOLDFAST_STORE"] == ["postgresql://u:***@h/x", "environment"]
    assert rows["HOLDFAST_KEYS"] == ["redis://:***@h/0", "option"]
    assert rows["HOLDFAST_INSTANCE"] == ["-", "default"]
    assert "do not go together" in result.stderr


def test_an_option_means_the_same_before_and_after_the_command_and_the_later_counts(holdfast: Run) -> None:
    assert " a " in holdfast("--namespace", "a", "settings").stdout
    assert " a " in holdfast("settings", "--namespace", "a").stdout
    assert " a " in holdfast("--namespace", "b", "settings", "--namespace", "a").stdout


def test_ledger_install_makes_the_table_once_and_says_so(holdfast: Run, tmp_path: Path) -> None:
    (tmp_path / "shop.db").touch()
    where = {"HOLDFAST_DATABASES_SHOP": f"sqlite:///{tmp_path}/shop.db"}
    line = f"table holdfast_effects in database shop (SQLite file {tmp_path}/shop.db)\n"

    assert holdfast("ledger", "install", "shop", "--dry-run", **where).stdout == f"would do: {line}"
    assert holdfast("ledger", "install", "shop", **where).stdout == line
    assert holdfast("ledger", "install", "shop", **where).stdout == "nothing to do: all is installed\n"


def test_ledger_install_tells_what_is_not_there(holdfast: Run) -> None:
    assert "no database 'shop'" in complaint(holdfast("ledger", "install", "shop"), 3)
    assert "no such file" in complaint(holdfast("ledger", "install", "shop", HOLDFAST_DATABASES_SHOP="sqlite:///x"), 3)
    away = "postgresql://127.0.0.1:1/shop"
    assert "is it running" in complaint(holdfast("ledger", "install", "shop", HOLDFAST_DATABASES_SHOP=away), 4)


def test_doctor_looks_at_named_databases(holdfast: Run, tmp_path: Path) -> None:
    (tmp_path / "shop.db").touch()
    where = {"HOLDFAST_DATABASES_SHOP": "sqlite:///shop.db"}
    assert holdfast("install").exit_code == 0

    before = holdfast("doctor", **where)
    assert before.exit_code == 4
    assert "is missing: holdfast ledger install shop" in before.stdout
    assert holdfast("ledger", "install", "shop", **where).exit_code == 0
    after = holdfast("doctor", **where)
    assert after.exit_code == 0
    assert "ok    database shop answers, and has the ledger's table" in after.stdout
    lost = holdfast("doctor", HOLDFAST_DATABASES_SHOP="sqlite:///lost.db")
    assert lost.exit_code == 4
    assert "bad   database shop (SQLite file lost.db): there is no such file" in lost.stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import asyncio\n1 / 0\n", "app.py:2: ZeroDivisionError: division by zero"),
        ("def f(:\n", "app.py:1: SyntaxError: "),
        ("\nimport nowhere_at_all\n", "app.py:2: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("import json\njson.loads('{')\n", "app.py:2: json.decoder.JSONDecodeError: "),
        ("raise SystemExit(7)\n", "app.py:1: SystemExit: 7"),
        ("x = 1\n", "app.py defines no workflow"),
    ],
)
def test_a_broken_application_is_told_with_file_and_line(
    holdfast: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    (tmp_path / "app.py").write_text(text)

    monkeypatch.setattr(definitions, "versions", {})  # other tests of this process define workflows

    result = holdfast("dev", "app.py")

    assert complaint(result, 2).startswith(f"holdfast: your application: {said}")


@pytest.mark.parametrize("app", ["nowhere.py", "no.such.module", "nowhere_at_all", "folder/nowhere.py"])
def test_an_application_that_does_not_exist_is_exit_code_3(holdfast: Run, app: str) -> None:
    assert app in complaint(holdfast("dev", app), 3)


def test_a_traceback_comes_with_debug(holdfast: Run, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("1 / 0\n")

    result = holdfast("dev", "app.py", "--debug")

    assert result.exit_code == 2
    assert "ZeroDivisionError" in result.stderr
    assert "Traceback" in result.stderr


def test_a_file_in_a_package_is_imported_under_the_name_that_others_import_it_by(holdfast: Run, tmp_path: Path) -> None:
    package = tmp_path / "optics_shop" / "flows"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package.parent / "__init__.py").write_text("")
    (package / "orders.py").write_text("from optics_shop.flows import orders as itself\n")

    module = load_app(str(package / "orders.py"))

    assert module.__name__ == "optics_shop.flows.orders"
    assert module.itself is module


def test_a_file_alone_may_bear_the_name_of_a_library(holdfast: Run, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("mine = True\n")

    module = load_app("json.py")

    assert module.mine
    assert json_of('{"a": 1}') == b'{"a": 1}'


def test_input_comes_from_the_line_a_file_or_stdin(holdfast: Run, tmp_path: Path) -> None:
    (tmp_path / "order.json").write_text(' {"n": 1}\n')

    assert json_of(None) == b"null"
    assert json_of('"Ada"') == b'"Ada"'
    assert json_of("@order.json") == b'{"n": 1}'
    assert "stdin is not JSON" in complaint(holdfast("start", "tea", "--input", "-", stdin="{"), 2)
    assert "there is no file lost.json" in complaint(holdfast("start", "tea", "--input", "@lost.json"), 3)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-23T12:00:00Z", NOON),
        ("2026-11-23T12:00", NOON),
        ("2026-11-23T14:00+02:00", NOON),
        ("10m", NOON - 600 * MICROS),
        ("2h", NOON - 7_200 * MICROS),
        ("1d", NOON - 86_400 * MICROS),
        ("30s", NOON - 30 * MICROS),
    ],
)
def test_a_time_is_iso_8601_or_how_long_ago(text: str, at: int) -> None:
    assert instant(text, NOON, "--since") == at


def test_what_is_no_time_is_refused_with_the_forms_that_are() -> None:
    with pytest.raises(CommandFailed, match="2026-11-01T08:00Z, or 10m"):
        instant("soon", NOON, "--since")
