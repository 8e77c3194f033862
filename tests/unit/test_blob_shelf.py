"""Large payloads at hand: what the present slice reads is never evicted, however full the shelf is."""

from collections.abc import AsyncIterator, Collection, Mapping
from pathlib import Path

import pytest

from holdfast.adapters.sqlite import SqliteStore
from holdfast.app.blobs import BlobShelf
from holdfast.core.commands import StartRun
from holdfast.core.payload import Payload
from holdfast.core.replay import ProgramStuck

LARGE = 100
LIMIT = 250
"""Room for two and a half payloads."""


class CountingStore(SqliteStore):
    """Counts the payloads that are read of it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked = 0

    async def blobs(self, names: Collection[str]) -> Mapping[str, bytes]:
        self.asked += len(names)
        return await super().blobs(names)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[CountingStore]:
    store = CountingStore(tmp_path / "holdfast.db")
    await store.install(1)
    await store.open()
    await store.put_blobs({name: name.encode() * LARGE for name in "abcdef"})
    yield store
    await store.close()


def referring(names: str) -> list[StartRun]:
    return [StartRun(workflow="w", version="1", input=Payload(data=b"", blob=name)) for name in names]


def read(shelf: BlobShelf, names: str) -> str:
    return "".join(shelf.read(Payload(data=b"", blob=name))[:1].decode() for name in names)


async def test_a_hit_is_still_there_after_a_miss_found_the_shelf_over_full(store: CountingStore) -> None:
    shelf = BlobShelf(store, LIMIT)
    await shelf.fetch(referring("abc"))
    shelf.release()
    await shelf.fetch(referring("bd"))
    assert read(shelf, "bd") == "bd"


async def test_a_slice_that_needs_more_than_the_shelf_takes_has_all_of_it(store: CountingStore) -> None:
    shelf = BlobShelf(store, LIMIT)
    await shelf.fetch(referring("ab"))
    await shelf.fetch(referring("cd"))
    await shelf.keep({"e": b"e" * LARGE})
    await shelf.fetch(referring("f"))
    assert read(shelf, "abcdef") == "abcdef"


async def test_one_payload_larger_than_the_shelf_is_read(store: CountingStore) -> None:
    shelf = BlobShelf(store, LARGE // 2)
    await shelf.fetch(referring("a"))
    assert read(shelf, "a") == "a"


async def test_after_a_slice_the_shelf_is_within_its_limit_again(store: CountingStore) -> None:
    shelf = BlobShelf(store, LIMIT)
    await shelf.fetch(referring("abcdef"))
    shelf.release()
    await shelf.fetch(referring("ef"))
    assert store.asked == len("abcdef")
    with pytest.raises(ProgramStuck, match="put it back"):
        read(shelf, "a")
