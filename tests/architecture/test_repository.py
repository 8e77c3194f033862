"""What the repository holds, and what it must not."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import lock

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "holdfast"
LONGEST_MODULE = 450
ALLOWED_LONGER: frozenset[str] = frozenset()
PROGRAMS = ("src", "services", "tests", "examples", "bench", "deploy")

# Put together here, so that this file does not hold what it looks for.
REGISTRIES = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("registry", "npmjs"),
        ("npmjs", "org"),
        ("repo", "maven"),
        ("repo1", "maven"),
        ("proxy", "golang"),
        ("static", "crates"),
        ("deb", "debian"),
    )
)
INDEX_OPTIONS = tuple("--" + name for name in ("index" + "-url", "extra" + "-index-url", "find" + "-links"))


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """Every text file that git holds or would take in."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    found: dict[str, str] = {}
    for name in filter(None, listed.stdout.split("\0")):
        try:
            found[name] = (ROOT / name).read_text()
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue  # bytes of a recorded history, or removed but not yet committed
    return found


def test_no_file_names_a_registry_or_chooses_an_index(texts: dict[str, str]) -> None:
    assert list(places(texts, *REGISTRIES, *INDEX_OPTIONS)) == []


def test_no_file_names_the_folder_of_this_checkout(texts: dict[str, str]) -> None:
    if len(ROOT.parts) < 3:
        pytest.skip(f"{ROOT} is too short a path to be told from others")
    assert list(places(texts, f"{ROOT}/")) == []


def test_no_lock_that_carries_registry_hosts_is_in_git(texts: dict[str, str]) -> None:
    assert [name for name in texts if Path(name).name in {"uv.lock", "package-lock.json", "poetry.lock"}] == []


def test_every_exception_to_a_lint_rule_has_its_reason_beside_it(texts: dict[str, str]) -> None:
    exception = re.compile(r"#\s*(?:noqa\b(?::\s*[A-Z]+\d+(?:[,\s]+[A-Z]+\d+)*)?|type:\s*ignore\b(?:\[[^\]]*\])?)(.*)")
    bare = [
        f"{name}:{number} {line.strip()}"
        for name, text in texts.items()
        if name.endswith(".py") and name.startswith(PROGRAMS) and name != "tests/architecture/test_repository.py"
        for number, line in enumerate(text.splitlines(), start=1)
        for rest in exception.findall(line)
        if not re.search(r"[A-Za-z]{3,}", rest)
    ]
    assert bare == []


def test_every_module_is_short_enough_to_be_read_at_once() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in SOURCE.rglob("*.py")}
    too_long = {name: length for name, length in lengths.items() if length > LONGEST_MODULE}
    assert too_long.keys() == ALLOWED_LONGER, too_long


def test_the_authors_surface_is_some_thirty_names() -> None:
    names = public_names(SOURCE / "__init__.py")
    if not names:
        pytest.skip("the surface is not there yet")
    assert 10 <= len(names) <= 32, sorted(names)  # the verbs, the units of time, and the errors an author meets
    assert names >= {"workflow", "step", "effect", "signal", "Client", "Retry", "GIVEN"}


def test_the_wheel_carries_types_sql_schemas_and_topics(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    carried = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"holdfast/{path.relative_to(SOURCE)}" for path in SOURCE.rglob("*.sql")}
    for shelf in ("schemas", "topics"):
        kept = {f"holdfast/{path.relative_to(ROOT)}" for path in (ROOT / shelf).rglob("*") if path.is_file()}
        assert kept, f"{shelf}/ is empty"
        wanted |= kept
    assert wanted | {"holdfast/py.typed"} <= carried


def test_a_changed_requirement_makes_its_lock_stale() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    before = {name: lock.digest(project, environment) for name, environment in lock.LOCKS.items()}

    project["dependency-groups"]["dev"].append("one-more>=1")

    after = {name: lock.digest(project, environment) for name, environment in lock.LOCKS.items()}
    assert after["requirements.lock"] != before["requirements.lock"]
    assert after["requirements-bench.lock"] == before["requirements-bench.lock"]


def test_a_changed_extra_makes_every_lock_stale() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    before = [lock.digest(project, environment) for environment in lock.LOCKS.values()]

    project["project"]["optional-dependencies"]["http"].append("one-more>=1")

    after = [lock.digest(project, environment) for environment in lock.LOCKS.values()]
    assert all(now != then for now, then in zip(after, before, strict=True))


def test_make_lists_what_it_can_do() -> None:
    listed = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True)
    told = set(re.findall(r"^ +make ([a-z-]+) +\S", listed.stdout, flags=re.MULTILINE))
    assert told == set(re.findall(r"^\.PHONY: ([a-z-]+)$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)) - {
        "servers"
    }
    assert told >= {"demo", "demo-cluster", "test", "check", "check-matrix", "bench", "chaos", "clean", "help"}


def places(texts: dict[str, str], *forbidden: str) -> Iterator[str]:
    for name, text in texts.items():
        for number, line in enumerate(text.splitlines(), start=1):
            yield from (f"{name}:{number} {word}" for word in forbidden if word in line)


def public_names(module: Path) -> set[str]:
    for node in ast.parse(module.read_text()).body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id="__all__")], value=value)
                | ast.AnnAssign(target=ast.Name(id="__all__"), value=ast.expr() as value)
            ):
                return set(ast.literal_eval(value))
            case _:
                pass
    return set()


@pytest.mark.parametrize("page", ["guarantees.md", "architecture.md"])
def test_every_test_that_a_page_appeals_to_exists(page: str) -> None:
    written = "\n".join(
        path.read_text() for folder in (ROOT / "tests", SOURCE / "testing") for path in folder.rglob("*.py")
    )
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / page).read_text()))
    files = set(re.findall(r"`(tests/[\w/]+\.py)`", (ROOT / "docs" / page).read_text()))
    assert named
    assert sorted(name for name in named if f"def {name}(" not in written) == []
    assert sorted(file for file in files if not (ROOT / file).is_file()) == []
