"""The extras: the table that errors are told from is that of pyproject.toml."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from holdfast.extras import EXTRAS, MissingExtra, needed_by, require

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


def test_the_table_of_extras_is_that_of_the_project() -> None:
    declared = {
        Requirement(text).name: extra
        for extra, texts in PROJECT["optional-dependencies"].items()
        for text in texts
        if not text.startswith("holdfast[")
    }
    assert declared == EXTRAS


def test_all_is_every_extra_but_that_for_tests() -> None:
    (everything,) = map(Requirement, PROJECT["optional-dependencies"]["all"])
    assert everything.extras == PROJECT["optional-dependencies"].keys() - {"all", "testing"}


def test_a_missing_package_is_told_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.extras.find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"^HOLDFAST_KEYS=redis://… needs .* pip install 'holdfast\[cluster\]'$"):
        require("redis", "HOLDFAST_KEYS=redis://…")


def test_a_module_that_is_missing_for_another_reason_is_told_as_it_is() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module") as missing, needed_by("holdfast.http", "http"):
        import no_such_module  # type: ignore[import-not-found]  # noqa: F401, PLC0415 - it is not there
    assert not isinstance(missing.value, MissingExtra)
