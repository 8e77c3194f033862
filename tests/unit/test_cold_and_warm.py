"""What is refused does not depend on what the process has cached, imported or opened before."""

import concurrent.futures
import dataclasses
import datetime as dt
import gc
import importlib
import inspect
import json
import os
import socket
import subprocess
import sys
import time
import zoneinfo
from collections.abc import Iterator
from pathlib import Path
from time import time as by_name
from types import ModuleType

import pytest

from holdfast.core import events as e
from holdfast.core.commands import CompleteRun
from holdfast.core.payload import Payload
from holdfast.sdk.definitions import Workflow, signal, workflow
from holdfast.sdk.guard import NotDeterministic
from holdfast.sdk.late import when_imported
from holdfast.sdk.program import LiveProgram
from holdfast.sdk.readers import READERS
from holdfast.sdk.watched import install
from tests.unit.cold import in_a_turn

HERE = Path(__file__)
ROOT = HERE.parents[2]


@pytest.fixture(autouse=True)
def guarded() -> None:
    install()


def tried(texts: list[str]) -> dict[str, list[str]]:
    """What came of each line in a fresh process: cold, again, and where it was run outside of turns before."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.cold"],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return dict(zip(texts, json.loads(done.stdout), strict=True))


READ = {
    "_frozen_importlib": '__import__("this")',
    "_frozen_importlib_external": '__import__("xml.dom.minidom")',
    "importlib._bootstrap": 'importlib.import_module("http.server")',
    "importlib._bootstrap_external": 'importlib.util.find_spec("wsgiref.handlers")',
    "zipimport": "list(pkgutil.iter_modules())",
    "importlib.metadata": '__import__("importlib.metadata").metadata.version("msgspec")',
    "importlib_metadata": 'importlib.import_module("importlib.metadata").entry_points()',
    "importlib.resources": 'importlib.import_module("importlib.resources").read_text("certifi", "cacert.pem")',
    "importlib_resources": '__import__("certifi").where()',
    "importlib.readers": 'importlib.import_module("importlib.resources").is_resource("certifi", "cacert.pem")',
    "pkgutil": 'pkgutil.get_data("certifi", "cacert.pem")',
    "sysconfig": '__import__("sysconfig").get_config_var("CC")',
    "zoneinfo": 'ZoneInfo("Europe/Vienna")',
    "gettext": 'gettext.translation("nothing", fallback=True)',
    "locale": "locale.getlocale()",
    "mimetypes": 'mimetypes.guess_type("a.pdf")',
    "inspect": "inspect.getsource(inspect.getsource)",
    "linecache": "linecache.getline(os.__file__, 3)",
    "tokenize": "linecache.getlines(os.__file__)",
    "threading": "threading.current_thread()",
    "logging": 'logging.FileHandler("/dev/null").close()',
    "traceback": "traceback.format_exc()",
    "warnings": 'warnings.warn("look")',
}
"""A line for each reader of the table."""

GIVEN = [
    'ZoneInfo.no_cache("Asia/Tokyo")',
    "zoneinfo.available_timezones()",
    '"ü.example".encode("idna")',
    'codecs.lookup("cp1140")',
    'datetime.datetime.strptime("2026-01-01", "%Y-%m-%d")',
    'time.strptime("2026", "%Y")',
    "ssl.create_default_context()",
    "inspect.getmodule(inspect)",
    'repr(dataclasses.make_dataclass("A", ["b"])(1))',
    '__import__("pydantic").create_model("A", b=(int, 1))(b=2)',
    '__import__("httpx").AsyncClient()',
    '__import__("openai").AsyncOpenAI(api_key="none")',
    '__import__("rich.console").console.Console()',
    'os.environ["HOME"]',
]
"""What is read lazily, by Python and by libraries."""

REFUSED = [
    'open("/usr/share/zoneinfo/not/there", "w")',
    "platform.node()",
    "platform.platform()",
    "platform.processor()",
    "tempfile.gettempdir()",
    "uuid.getnode()",
    "random.gauss(0, 1)",
    "random.seed(1)",
    "random.getstate()",
    "ssl.RAND_bytes(1)",
    'os.environ.setdefault("HOME", "/")',
    'os.environ.pop("NOT_THERE", None)',
    '__import__("sched").scheduler().enter(1, 1, print)',
    '__import__("shutil").which("ls")',
    '__import__("urllib.request").request.urlopen("http://127.0.0.1:1/")',
    '__import__("multiprocessing").Process(target=print).start()',
    "input()",
]
"""What would pass where its answer is kept already. The lines are run outside of turns, too: none may do harm."""


@pytest.mark.timeout(180)
def test_a_call_is_judged_alike_cold_again_and_where_its_answer_is_kept_already() -> None:
    expected = {text: ["given"] * 3 for text in [*READ.values(), *GIVEN]} | {text: ["refused"] * 3 for text in REFUSED}
    assert tried(list(expected)) == expected


def test_every_reader_is_tried() -> None:
    assert {reader.module for reader in READERS} == set(READ)


async def remind(zone: str) -> str:
    tomorrow = workflow.now().astimezone(zoneinfo.ZoneInfo(zone)) + dt.timedelta(days=1)
    return f"{tomorrow.isoformat()} {await signal('go', str)}"


def replayed(history: list[e.Event]) -> str:
    """What the run ends with, told of its history."""
    program = LiveProgram(lambda *_: Workflow(remind, "remind", "1"), lambda payload: payload.data, "ns", "run-1", 0)
    requests = [program.apply(event, 1_774_700_000_000_000) for event in history]
    program.evict()
    assert isinstance(requests[-1][0], CompleteRun)
    return requests[-1][0].result.data.decode()


def test_arithmetic_over_time_zones_is_replayed_in_a_process_that_has_read_no_zone() -> None:
    code = "from tests.unit.test_cold_and_warm import *; install(); print(replayed(zone_history('Europe/Vienna')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    here = replayed(zone_history("Europe/Vienna"))
    assert done.stdout.strip() == here
    assert "+02:00" in here  # summer time has begun meanwhile


def zone_history(zone: str) -> list[e.Event]:
    return [
        e.RunStarted(workflow="remind", version="1", input=Payload(data=json.dumps(zone).encode())),
        e.SignalReceived(message_id="m", name="go", input=Payload(data=b'"x"')),
    ]


@dataclasses.dataclass
class Stamped:
    at: float = dataclasses.field(default_factory=lambda: by_name())  # noqa: PLW0108 - the author's line


def test_a_clock_that_was_imported_by_name_before_is_refused_all_the_same() -> None:
    with pytest.raises(NotDeterministic, match=r"time\.time .*\n.*test_cold_and_warm\.py:\d+ .*by_name\(\)"):
        in_a_turn(Stamped)
    assert Stamped().at > 0


@pytest.fixture
def pool() -> Iterator[concurrent.futures.ThreadPoolExecutor]:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(time.time).result()
        yield pool


def test_a_pool_whose_threads_run_already_is_refused(pool: concurrent.futures.ThreadPoolExecutor) -> None:
    with pytest.raises(NotDeterministic, match=r"ThreadPoolExecutor\.submit"):
        in_a_turn(lambda: pool.submit(print))


@pytest.mark.parametrize("is_early", [True, False])
def test_a_module_is_watched_whether_it_comes_before_or_after(
    is_early: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def watch(module: ModuleType) -> None:
        watched.append(module.__name__)
        vars(module)["draw"] = "watched"

    name = f"keeps_chance_{'early' if is_early else 'late'}"
    (tmp_path / f"{name}.py").write_text("draw = 'real'", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    watched: list[str] = []
    if is_early:
        importlib.import_module(name)
    when_imported(name, watch)
    assert importlib.import_module(name).draw == "watched"
    assert inspect.getsource(sys.modules.pop(name)).strip() == "draw = 'real'"
    assert watched == [name]


def test_a_socket_that_was_connected_before_is_refused() -> None:
    here, there = socket.socketpair()
    with here, there:
        for talk in (lambda: here.send(b"x"), lambda: here.sendall(b"x"), lambda: here.recv(1)):
            with pytest.raises(NotDeterministic, match=r"socket\.(send|sendall|recv) "):
                in_a_turn(talk)
        here.sendall(b"x")
        assert there.recv(1) == b"x"


def test_an_import_may_do_what_it_does_since_it_does_it_once_in_a_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "author_lazily.py").write_text(
        "import os, random, socket, threading, time, uuid\n"
        "socket.socket().close(), os.getpid(), time.time(), random.random(), uuid.uuid4(), os.path.exists('/')\n"
        "threading.Thread(target=print).start()\n"
        "with open(__file__) as source:\n"
        "    os.environ['AUTHOR_LAZILY'] = source.readline()\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("AUTHOR_LAZILY", "")
    in_a_turn(lambda: __import__("author_lazily"))
    sys.modules.pop("author_lazily")
    assert os.environ["AUTHOR_LAZILY"].startswith("import os")


def test_what_the_collector_runs_in_the_middle_of_a_turn_is_not_refused() -> None:
    class Finalized:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            seen.extend([time.time(), os.getpid(), HERE.stat()])

    def measures(phase: str, _: dict[str, int]) -> None:
        seen.append((phase, by_name()))

    seen: list[object] = []
    gc.disable()
    Finalized()
    gc.callbacks.append(measures)
    try:
        in_a_turn(gc.collect)
    finally:
        gc.callbacks.remove(measures)
        gc.enable()
    assert len(seen) == 5
    with pytest.raises(NotDeterministic):
        in_a_turn(time.time)


def test_what_stands_in_for_a_function_is_found_in_its_sets() -> None:
    assert os.stat in os.supports_fd
    assert os.stat in os.supports_follow_symlinks
    assert {os.stat} <= os.supports_dir_fd


def test_the_type_datetime_stays_what_it_is() -> None:
    class Later(dt.datetime):
        pass

    assert type(Later.now()) is Later
    assert type(dt.datetime.now(dt.UTC)) is dt.datetime
    assert dt.datetime.now(dt.UTC).tzinfo is dt.UTC
    assert abs(dt.datetime.now(dt.UTC).timestamp() - time.time()) < 60
    with pytest.raises(NotDeterministic, match=r"datetime\.datetime\.now .*\n.*test_cold_and_warm"):
        in_a_turn(lambda: Later.now(dt.UTC))
