"""Effects in the author's own database, under kill -9: the rows in it are the proof.

The application kills its own process once, at the moment that a test names; then it is started again.
"""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from holdfast.adapters.databases import NamedDatabases
from tests.servers import Servers

ROOT = Path(__file__).parents[2]
HOLDFAST = (sys.executable, "-m", "holdfast.cli")
PATIENCE = 60.0
MOMENTS = ["written", "committed"]

APP = """
import os
import signal
from typing import Any

from holdfast import GIVEN, effect, workflow
from holdfast.adapters.databases import {kind}


def die_once(moment: str) -> None:
    if os.environ.get("DIE_WHEN") != moment:
        return
    try:
        os.close(os.open("died", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


committed = {kind}.{transaction}.commit


async def commit_and_die(self, result: bytes) -> None:
    await committed(self, result)
    die_once("committed")


{kind}.{transaction}.commit = commit_and_die


@effect(guard="transaction", database="shop")
async def book(order: str, *, connection: Any = GIVEN) -> int:
    await connection.execute("INSERT INTO entries (entry) VALUES ('" + order + "')")
    die_once("written")
    return len(order)


@workflow
async def sale(order: str) -> int:
    return await book(order)
"""


class Shop:
    """A folder with an application, its settings, and its own database."""

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
        self.environment = {**kept, "PYTHONUNBUFFERED": "1", **settings}

    def holdfast(self, *arguments: str) -> str:
        """Run a command that has to succeed; what it printed."""
        done = subprocess.run(
            [*HOLDFAST, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def serving(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [*HOLDFAST, *arguments, "app.py"], cwd=self.folder, env=self.environment, stdout=log, stderr=log
            )
            try:
                yield process
            finally:
                process.kill()
                process.wait()

    def sell_through_a_kill(self, command: str) -> Any:
        """Start one sale, see the process die of it, start another process; gives the sale's result."""
        with self.serving(command) as process:
            self.holdfast("start", "sale", "--id", "s1", "--input", '"lens"')
            assert process.wait(PATIENCE) == -signal.SIGKILL, (self.folder / "log").read_text()
        with self.serving(command):
            deadline = time.monotonic() + PATIENCE
            while (shown := json.loads(self.holdfast("show", "s1", "--json")))["status"] == "RUNNING":
                assert time.monotonic() < deadline, (shown, (self.folder / "log").read_text())
                time.sleep(0.2)
        assert shown["status"] == "COMPLETED", shown
        return shown["result"]


def example(name: str) -> Any:
    """A function of an example of the documentation."""
    text = (ROOT / "docs" / "writing-workflows.md").read_text("utf-8")
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if f"def {name}(" in block]
    scope: dict[str, Any] = {"__name__": "documented"}
    exec(compile(code, name, "exec"), scope)  # noqa: S102 - the documentation is ours
    return scope[name]


async def test_the_documented_example_for_sqlite_runs(tmp_path: Path) -> None:
    count_frame = example("count_frame")
    with closing(sqlite3.connect(tmp_path / "shop.db")) as file:
        file.execute("CREATE TABLE frames (name TEXT PRIMARY KEY, sold INT)")
    databases = NamedDatabases({"shop": f"sqlite:///{tmp_path}/shop.db"})
    await databases.install("shop")

    for effect_id, sold in (("e1", 1), ("e2", 2)):
        async with databases.transaction("shop", effect_id, b"") as transaction:
            assert await count_frame("oval", connection=transaction.connection) == sold
            await transaction.commit(b"")


async def test_the_documented_example_for_postgresql_runs(servers: Servers, namespace: str) -> None:
    book_sale = example("book_sale")
    async with await psycopg.AsyncConnection.connect(servers.postgres) as connection:
        await connection.execute("CREATE TEMPORARY TABLE sales (number serial, order_id text, cents int)")

        assert await book_sale("o-1", 100, connection=connection) == 1


@pytest.mark.timeout(180)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_leaves_one_entry_in_sqlite(moment: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP.format(kind="sqlite", transaction="SqliteTransaction"))
    (tmp_path / "holdfast.toml").write_text('[databases]\nshop = "sqlite:///shop.db"\n')
    with closing(sqlite3.connect(tmp_path / "shop.db")) as file:
        file.execute("CREATE TABLE entries (entry TEXT)")
    shop = Shop(tmp_path, {"DIE_WHEN": moment})
    shop.holdfast("ledger", "install", "shop")
    shop.holdfast("install")

    assert shop.sell_through_a_kill("dev") == len("lens")

    with closing(sqlite3.connect(tmp_path / "shop.db")) as file:
        assert file.execute("SELECT entry FROM entries").fetchall() == [("lens",)]
        assert file.execute("SELECT count(*) FROM holdfast_effects").fetchone() == (1,)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_leaves_one_entry_in_postgresql(moment: str, servers: Servers, namespace: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP.format(kind="postgres", transaction="PostgresTransaction"))
    with psycopg.connect(servers.postgres, autocommit=True) as link:
        link.execute(f"CREATE SCHEMA {namespace}_shop".encode())
        link.execute(f"CREATE TABLE {namespace}_shop.entries (entry text)".encode())
        shop = Shop(
            tmp_path,
            {
                **servers.settings,
                "DIE_WHEN": moment,
                "HOLDFAST_NAMESPACE": namespace,
                "HOLDFAST_SHARDS": "4",
                "HOLDFAST_DATABASES_SHOP": f"{servers.postgres}?options=-csearch_path%3D{namespace}_shop",
            },
        )
        shop.holdfast("ledger", "install", "shop")
        shop.holdfast("install")

        assert shop.sell_through_a_kill("run") == len("lens")

        entries = link.execute(f"SELECT entry FROM {namespace}_shop.entries".encode()).fetchall()
        effects = link.execute(f"SELECT count(*) FROM {namespace}_shop.holdfast_effects".encode()).fetchall()
        assert (entries, effects) == ([("lens",)], [(1,)])
