"""What is loaded by those who only write workflows, and by those who only read the help."""

import subprocess
import sys

SERVERS_CLIENTS = {"aiohttp", "aiokafka", "httpx", "httpx2", "openai", "psycopg", "redis", "stripe"}


def loaded_by(code: str) -> set[str]:
    """The modules that a fresh interpreter has after `code` and had not before."""
    counting = f"import sys; before = set(sys.modules)\n{code}\nprint(*set(sys.modules) - before, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", counting], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def rooms(modules: set[str]) -> set[str]:
    """The packages of ours that the modules are in."""
    return {".".join(name.split(".")[:2]) for name in modules if name.startswith("holdfast.")}


def packages(modules: set[str]) -> set[str]:
    """The third parties among the modules."""
    return {name.partition(".")[0] for name in modules} - sys.stdlib_module_names - {"holdfast"}


def test_an_authors_module_loads_the_words_of_the_sdk_and_no_engine() -> None:
    assert rooms(loaded_by("from holdfast import effect, signal, step, workflow")) == {"holdfast.core", "holdfast.sdk"}


def test_an_authors_module_loads_no_third_party_but_values() -> None:
    loaded = packages(loaded_by("from holdfast import effect, signal, step, workflow"))
    # msgspec asks for typing_extensions, and does without where it is not installed.
    assert {name for name in loaded if not name.startswith("_")} <= {"msgspec", "rpds", "typing_extensions"}


def test_the_client_is_loaded_by_whoever_asks_for_it() -> None:
    assert "holdfast.client" in loaded_by("from holdfast import Client")


def test_a_client_of_one_file_loads_no_client_of_a_server() -> None:
    loaded = loaded_by("from holdfast import Client\nimport holdfast.profiles.embedded")
    assert packages(loaded).isdisjoint(SERVERS_CLIENTS)


def test_the_help_loads_no_client_of_a_server_and_no_engine() -> None:
    loaded = loaded_by("from holdfast.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass")
    assert packages(loaded).isdisjoint(SERVERS_CLIENTS | {"avro", "fastavro", "rich", "uvloop"})
    assert rooms(loaded).isdisjoint({"holdfast.app", "holdfast.client", "holdfast.profiles"})


def test_a_name_that_is_not_there_is_told_as_of_any_module() -> None:
    told = subprocess.run(
        [sys.executable, "-c", "from holdfast import Workflow"], capture_output=True, text=True, check=False
    )
    assert "ImportError: cannot import name 'Workflow' from 'holdfast'" in told.stderr


def test_all_public_names_are_there() -> None:
    code = "import holdfast\nassert all(hasattr(holdfast, name) and name in dir(holdfast) for name in holdfast.__all__)"
    loaded_by(code)
