"""The laws of the installation: installing, and its facts."""

import asyncio

import pytest

from holdfast.ports.installation import NotInstalled
from holdfast.ports.store import Store
from holdfast.testing.conformance.fixtures import StoreFixtures
from holdfast.testing.conformance.rows import SHARDS, owner


class InstallationLaws(StoreFixtures):
    """Installing, and the facts of the installation."""

    async def test_what_is_not_installed_cannot_be_opened(self, blank: Store) -> None:
        with pytest.raises(NotInstalled):
            await blank.open()

    async def test_installing_applies_what_was_pending_and_nothing_the_second_time(self, blank: Store) -> None:
        pending = await blank.pending_migrations()
        done = await blank.install(SHARDS)
        assert pending
        assert set(pending) <= set(done)
        assert await blank.pending_migrations() == []
        assert await blank.install(SHARDS) == []

    async def test_two_that_install_at_once_do_each_thing_once(self, blank: Store, another_blank: Store) -> None:
        one, other = await asyncio.gather(blank.install(SHARDS), another_blank.install(SHARDS))
        assert one + other
        assert len(set(one + other)) == len(one + other)
        await blank.open()
        assert (await blank.meta())["shards"] == str(SHARDS)
        await blank.close()

    async def test_an_installation_draws_an_id_once(self, blank: Store, another_blank: Store) -> None:
        await blank.install(SHARDS)
        await blank.open()
        drawn = (await blank.meta())["installation"]
        await another_blank.install(SHARDS)
        assert drawn
        assert (await blank.meta())["installation"] == drawn
        await blank.close()

    async def test_another_number_of_shards_is_refused_and_both_are_named(self, store: Store) -> None:
        with pytest.raises(ValueError, match=r"(?s)\b8\b.*\b16\b"):
            await store.install(16)
        assert (await store.meta())["shards"] == "8"

    async def test_facts_are_kept_and_written_over(self, store: Store, another_store: Store) -> None:
        await store.set_meta({"cluster": "a", "generation": "1"})
        await store.set_meta({"generation": "2"})
        facts = await another_store.meta()
        assert facts["cluster"] == "a"
        assert facts["generation"] == "2"
        assert facts["shards"] == str(SHARDS)
        assert int(facts["schema"]) >= 1

    async def test_the_clock_is_in_microseconds_and_goes_on(self, store: Store) -> None:
        first, second = await store.now(), await store.now()
        assert 1.6e15 < first <= second < 1e16

    async def test_a_closed_store_can_be_opened_again(self, store: Store) -> None:
        await (await owner(store)).start("r")
        await store.close()
        await store.open()
        assert await store.existing(["r"]) == {"r"}
