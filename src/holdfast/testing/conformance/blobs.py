"""The laws of blobs."""

from holdfast.ports.store import Store
from holdfast.testing.conformance.fixtures import StoreFixtures


class BlobLaws(StoreFixtures):
    """Large payloads under the hash of their content."""

    async def test_large_payloads_are_kept_under_their_names(self, store: Store, another_store: Store) -> None:
        large = bytes(range(256)) * 40_000
        await store.put_blobs({"a": large, "b": b""})
        await store.put_blobs({"a": b"other", "c": b"c"})
        assert await another_store.blobs(["a", "b", "c", "unknown"]) == {"a": large, "b": b"", "c": b"c"}
        assert await store.blobs([]) == {}
