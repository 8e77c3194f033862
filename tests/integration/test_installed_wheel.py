"""The wheel, installed where nothing else is: without extras, and with all of them."""

import ast
from pathlib import Path

import pytest

from holdfast.extras import EXTRAS
from tests.integration.commandline import complaint, holdfast, line_of, started
from tests.integration.installed import Installed, build
from tests.servers import Servers

APP = """
from holdfast import step, workflow


@step
async def add(one: int, other: int) -> int:
    return one + other


@workflow
async def total(numbers: list[int]) -> int:
    found = 0
    for number in numbers:
        found = await add(found, number)
    return found
"""

WALK = """
import importlib, pkgutil, holdfast

missing = {}
for module in pkgutil.walk_packages(holdfast.__path__, "holdfast.", onerror=lambda name: None):
    if module.name.endswith("__main__"):
        continue
    try:
        importlib.import_module(module.name)
    except ImportError as error:
        missing[module.name] = error.name
print(missing)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """pip install holdfast"""
    return Installed(tmp_path_factory.mktemp("bare") / "venv", wheel, ())


@pytest.fixture(scope="module")
def full(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """pip install 'holdfast[all]'"""
    return Installed(tmp_path_factory.mktemp("full") / "venv", wheel, ("all",))


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A folder with an application."""
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


@pytest.mark.parametrize("environment", ["bare", "full"])
def test_a_workflow_runs_on_one_file(environment: str, request: pytest.FixtureRequest, app: Path) -> None:
    installed: Installed = request.getfixturevalue(environment)
    with started(app, "dev", "app.py", program=installed.program) as serving:
        line_of(serving)

        result = holdfast(app, "start", "total", "--input", "[1, 2, 4]", "--wait", program=installed.program)

    assert result.stdout.splitlines()[-1] == "7", result.stderr


def test_a_workflow_runs_on_the_cluster(full: Installed, app: Path, servers: Servers, namespace: str) -> None:
    settings = {**servers.settings, "HOLDFAST_NAMESPACE": namespace, "HOLDFAST_SHARDS": "4"}
    installing = holdfast(app, "install", program=full.program, **settings)
    assert installing.returncode == 0, installing.stderr
    with started(app, "run", "app.py", "--health", "127.0.0.1:0", program=full.program, **settings) as serving:
        line_of(serving)

        result = holdfast(app, "start", "total", "--input", "[1, 2, 4]", "--wait", program=full.program, **settings)

    assert result.stdout.splitlines()[-1] == "7", result.stderr


def test_without_extras_it_brings_few_packages(bare: Installed) -> None:
    assert len(bare.packages) <= 10, sorted(bare.packages)


def test_without_extras_only_what_needs_a_server_a_client_or_a_test_cannot_be_imported(bare: Installed) -> None:
    missing: dict[str, str] = ast.literal_eval(bare.ask(WALK))
    apart = (
        *(f"holdfast.adapters.{name}" for name in ("kafka", "postgres", "redis", "databases", "avro.compatibility")),
        *("holdfast.profiles.cluster", "holdfast.http", "holdfast.testing"),
    )
    assert [name for name in missing if not name.startswith(apart)] == []


def test_what_cannot_be_imported_without_extras_is_in_one_of_them(bare: Installed) -> None:
    missing: dict[str, str] = ast.literal_eval(bare.ask(WALK))
    assert set(missing.values()) <= EXTRAS.keys()


def test_with_all_extras_everything_but_the_tests_can_be_imported(full: Installed) -> None:
    missing: dict[str, str] = ast.literal_eval(full.ask(WALK))
    assert {EXTRAS[package] for package in missing.values()} == {"testing"}


@pytest.mark.parametrize(
    ("settings", "package", "asked"),
    [
        (
            {"HOLDFAST_STORE": "postgresql://db/x", "HOLDFAST_LOG": "kafka://broker:9092"},
            "aiokafka",
            "HOLDFAST_LOG=kafka://…",
        ),
        ({"HOLDFAST_DATABASES_SHOP": "postgresql://db/shop"}, "psycopg", "database shop"),
        ({"HOLDFAST_HEALTH": "127.0.0.1:0"}, "aiohttp", "HOLDFAST_HEALTH"),
    ],
    ids=["cluster", "databases", "health"],
)
def test_a_setting_that_needs_an_extra_says_which(
    settings: dict[str, str], package: str, asked: str, bare: Installed, app: Path
) -> None:
    result = holdfast(app, "run", "app.py", program=bare.program, **settings)

    told = complaint(result, 2)
    assert told.startswith(f"holdfast: a missing package: {asked}")
    assert told.endswith(f"needs the package {package}, which is not installed: pip install 'holdfast[cluster]'\n")


def test_the_doctor_names_the_extra(bare: Installed, app: Path) -> None:
    settings = {"HOLDFAST_STORE": "postgresql://db/x", "HOLDFAST_LOG": "kafka://broker:9092"}
    assert "'holdfast[cluster]'" in complaint(holdfast(app, "doctor", program=bare.program, **settings), 2)


@pytest.mark.parametrize(
    ("line", "extra"),
    [
        ("from holdfast.http import client", "http"),
        ("import holdfast.http.stripe", "stripe"),
        ("import holdfast.http.httpx", "httpx"),
    ],
)
def test_a_module_of_ours_that_needs_an_extra_says_which(line: str, extra: str, bare: Installed, app: Path) -> None:
    (app / "app.py").write_text(f"{APP}\n\n{line}\n")

    told = complaint(holdfast(app, "dev", "app.py", program=bare.program), 2)

    assert told.startswith("holdfast: a missing package: app.py:")
    assert told.endswith(f"pip install 'holdfast[{extra}]'\n")
