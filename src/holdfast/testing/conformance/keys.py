"""What every adapter of `ports.keys` must do. Subclass `KeysConformance` and give it `keys`, `flush` and `advance`."""

from collections.abc import Awaitable, Callable

import pytest

from holdfast.ports.keys import Claimed, Held, Keys, Known

Flush = Callable[[], Awaitable[None]]
Advance = Callable[[float], Awaitable[None]]


class KeysConformance:
    """The laws of the port, as tests."""

    @pytest.fixture
    def keys(self) -> Keys:
        """An open, empty adapter; the subclass closes it."""
        raise NotImplementedError

    @pytest.fixture
    def flush(self) -> Flush:
        """Make all that is kept vanish, behind the adapter's back."""
        raise NotImplementedError

    @pytest.fixture
    def advance(self) -> Advance:
        """Let seconds pass for what is kept."""
        raise NotImplementedError

    async def test_a_free_key_is_claimed(self, keys: Keys) -> None:
        assert list(await keys.claim(["charge#1"], "ada", 10)) == [Claimed()]

    async def test_a_claimed_key_is_held_by_its_owner(self, keys: Keys) -> None:
        await keys.claim(["charge#1"], "ada", 10)
        assert list(await keys.claim(["charge#1"], "bob", 10)) == [Held("ada")]

    async def test_a_claim_of_our_own_is_claimed_again_and_prolonged(self, keys: Keys, advance: Advance) -> None:
        await keys.claim(["charge#1"], "ada", 10)
        await advance(8)
        assert list(await keys.claim(["charge#1"], "ada", 10)) == [Claimed()]
        await advance(8)
        assert list(await keys.claim(["charge#1"], "bob", 10)) == [Held("ada")]

    async def test_a_claim_expires(self, keys: Keys, advance: Advance) -> None:
        await keys.claim(["charge#1"], "ada", 10)
        await advance(11)
        assert list(await keys.claim(["charge#1"], "bob", 10)) == [Claimed()]

    async def test_a_remembered_result_is_known_to_everybody(self, keys: Keys) -> None:
        await keys.remember({"charge#1": b"\x00r\xffeceipt"}, 10)
        assert list(await keys.claim(["charge#1"], "bob", 10)) == [Known(b"\x00r\xffeceipt")]

    async def test_an_empty_result_is_a_result(self, keys: Keys) -> None:
        await keys.remember({"charge#1": b""}, 10)
        assert list(await keys.claim(["charge#1"], "bob", 10)) == [Known(b"")]

    async def test_a_result_ends_the_claim_on_its_key(self, keys: Keys) -> None:
        await keys.claim(["charge#1"], "ada", 10)
        await keys.remember({"charge#1": b"receipt"}, 10)
        assert list(await keys.claim(["charge#1"], "ada", 10)) == [Known(b"receipt")]

    async def test_a_result_expires(self, keys: Keys, advance: Advance) -> None:
        await keys.remember({"charge#1": b"receipt"}, 10)
        await advance(11)
        assert list(await keys.claim(["charge#1"], "bob", 10)) == [Claimed()]

    async def test_asking_for_a_result_does_not_end_it(self, keys: Keys) -> None:
        await keys.remember({"charge#1": b"receipt"}, 10)
        await keys.claim(["charge#1"], "ada", 10)
        assert list(await keys.claim(["charge#1"], "bob", 10)) == [Known(b"receipt")]

    async def test_every_key_has_its_own_answer_in_the_order_asked(self, keys: Keys) -> None:
        await keys.claim(["held"], "ada", 10)
        await keys.remember({"known": b"1", "also known": b"2"}, 10)
        answers = await keys.claim(["known", "free", "held", "also known"], "bob", 10)
        assert list(answers) == [Known(b"1"), Claimed(), Held("ada"), Known(b"2")]

    async def test_a_key_asked_for_twice_at_once_is_ours_twice(self, keys: Keys) -> None:
        assert list(await keys.claim(["charge#1", "charge#1"], "ada", 10)) == [Claimed(), Claimed()]

    async def test_a_released_key_is_free(self, keys: Keys) -> None:
        await keys.claim(["charge#1", "charge#2"], "ada", 10)
        await keys.release(["charge#1"], "ada")
        assert list(await keys.claim(["charge#1", "charge#2"], "bob", 10)) == [Claimed(), Held("ada")]

    async def test_another_owners_claim_is_not_released(self, keys: Keys) -> None:
        await keys.claim(["charge#1"], "ada", 10)
        await keys.release(["charge#1"], "bob")
        assert list(await keys.claim(["charge#1"], "bob", 10)) == [Held("ada")]

    async def test_a_release_leaves_a_result_alone(self, keys: Keys) -> None:
        await keys.claim(["charge#1"], "ada", 10)
        await keys.remember({"charge#1": b"receipt"}, 10)
        await keys.release(["charge#1"], "ada")
        assert list(await keys.claim(["charge#1"], "ada", 10)) == [Known(b"receipt")]

    async def test_releasing_what_was_never_claimed_is_nothing(self, keys: Keys) -> None:
        await keys.release(["charge#1"], "ada")
        assert list(await keys.claim(["charge#1"], "ada", 10)) == [Claimed()]

    async def test_no_keys_have_no_answers(self, keys: Keys) -> None:
        assert list(await keys.claim([], "ada", 10)) == []
        await keys.remember({}, 10)
        await keys.release([], "ada")

    async def test_after_a_flush_every_key_is_free_and_serves_again(self, keys: Keys, flush: Flush) -> None:
        await keys.claim(["held"], "ada", 10)
        await keys.remember({"known": b"receipt"}, 10)
        await flush()
        assert list(await keys.claim(["held", "known"], "bob", 10)) == [Claimed(), Claimed()]
        await keys.release(["held"], "ada")
        assert list(await keys.claim(["held", "known"], "ada", 10)) == [Held("bob"), Held("bob")]

    async def test_any_owner_and_key_of_text_will_do(self, keys: Keys) -> None:
        owner, key = "wörker 1/2:3", "order-1042/0/réserve#1"
        await keys.claim([key], owner, 10)
        assert list(await keys.claim([key], "bob", 10)) == [Held(owner)]

    async def test_it_says_that_it_answers(self, keys: Keys) -> None:
        assert await keys.ping()
