"""What a broker is told of a reader, and what its answers say: aiokafka's own schemas read and write the other side."""

import struct
from io import BytesIO
from typing import Any

import pytest
from aiokafka.errors import IncompatibleBrokerVersion, InvalidFetchSessionEpoch
from aiokafka.protocol.fetch import FetchRequest_v10, FetchResponse_v10
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from holdfast.adapters.kafka.sessions import LAST_EPOCH, NO_SESSION, Answer, Limits, Part, Request, Session, read_answer

LIMITS = Limits(wait_ms=321, bytes=7_000_000, partition_bytes=50_000)
A0, A1, B0 = TopicPartition("a", 0), TopicPartition("a", 1), TopicPartition("b", 0)
ID = 4711


class Heard:
    """A request as a broker reads it."""

    def __init__(self, request: Request) -> None:
        data = BytesIO(request.encode())
        fields: Any = FetchRequest_v10.SCHEMA.decode(data)
        assert data.read() == b"", "a request has no more than its fields"
        reader, wait_ms, least, most, isolation, self.session, self.epoch, topics, forgotten = fields
        assert (reader, wait_ms, least, most, isolation) == (-1, LIMITS.wait_ms, 1, LIMITS.bytes, 0)
        self.asked = {
            TopicPartition(topic, partition): offset
            for topic, partitions in topics
            for partition, _leader_epoch, offset, _start, _limit in partitions
        }
        self.limits = {limit for _topic, partitions in topics for *_, limit in partitions}
        self.forgotten = {TopicPartition(topic, number) for topic, numbers in forgotten for number in numbers}

    def __repr__(self) -> str:
        return f"{self.session}/{self.epoch}: {self.asked}, without {self.forgotten}"

    def is_full(self, wanted: dict[TopicPartition, int]) -> bool:
        return self.epoch == 0 and self.asked == wanted and not self.forgotten


def opened(wanted: dict[TopicPartition, int]) -> Session:
    """A session whose first request was answered."""
    session = Session(LIMITS)
    session.want(dict(wanted))
    session.request()
    session.answered(ID)
    return session


def answer_of(*topics: tuple[str, list[tuple[int, int, bytes]]], code: int = 0, session: int = ID) -> bytes:
    """An answer as a broker writes it: of each partition its number, its error code and its batches."""
    written: list[Any] = [
        (topic, [(number, error, 90, 80, 0, [], batches) for number, error, batches in partitions])
        for topic, partitions in topics
    ]
    data: bytes = FetchResponse_v10.SCHEMA.encode((0, code, session, written))
    return data


def test_the_first_request_tells_everything_and_opens_a_session() -> None:
    session = Session(LIMITS)
    session.want({A0: 5, A1: 0, B0: 9})
    heard = Heard(session.request())
    assert heard.is_full({A0: 5, A1: 0, B0: 9})
    assert heard.session == NO_SESSION
    assert heard.limits == {LIMITS.partition_bytes}


def test_a_request_after_that_names_only_what_has_moved() -> None:
    session = opened({A0: 5, A1: 0, B0: 9})
    session.move(A1, 3)
    heard = Heard(session.request())
    assert (heard.session, heard.epoch) == (ID, 1)
    assert (heard.asked, heard.forgotten) == ({A1: 3}, set())


def test_when_nothing_has_changed_a_request_names_nothing() -> None:
    session = opened({A0: 5, B0: 9})
    session.want({A0: 5, B0: 9})
    first = Heard(session.request())
    session.answered(ID)
    second = Heard(session.request())
    assert [(heard.epoch, heard.asked, heard.forgotten) for heard in (first, second)] == [
        (1, {}, set()),
        (2, {}, set()),
    ]


def test_what_is_wanted_no_more_is_forgotten_and_what_is_new_is_asked_for() -> None:
    session = opened({A0: 5, A1: 0})
    session.want({A1: 0, B0: 9})
    heard = Heard(session.request())
    assert (heard.asked, heard.forgotten) == ({B0: 9}, {A0})
    assert session.told == {A1: 0, B0: 9}


def test_what_is_wanted_again_before_the_next_request_is_neither_asked_for_nor_forgotten() -> None:
    session = opened({A0: 5, A1: 0})
    session.want({A1: 0})
    session.want({A0: 5, A1: 0})
    heard = Heard(session.request())
    assert (heard.asked, heard.forgotten) == ({}, set())


def test_a_partition_that_is_not_wanted_does_not_move() -> None:
    session = opened({A0: 5})
    session.move(B0, 7)
    heard = Heard(session.request())
    assert (heard.asked, heard.forgotten) == ({}, set())


def test_what_was_told_stays_until_the_next_request_whatever_is_wanted_by_then() -> None:
    session = opened({A0: 5})
    session.move(A0, 8)
    session.want({B0: 1})
    assert session.told == {A0: 5}


def test_a_lost_session_begins_again_with_a_full_request_that_ends_the_old_one() -> None:
    session = opened({A0: 5, A1: 0})
    session.move(A0, 8)
    session.request()
    session.begin_again()

    again = Heard(session.request())
    session.answered(ID + 1)
    after = Heard(session.request())

    assert again.is_full({A0: 8, A1: 0})
    assert again.session == ID
    assert (after.session, after.epoch, after.asked) == (ID + 1, 1, {})


def test_what_was_dropped_while_a_session_was_lost_is_not_mentioned() -> None:
    session = opened({A0: 5, A1: 0})
    session.begin_again()
    session.want({A1: 0})
    assert Heard(session.request()).is_full({A1: 0})


def test_a_broker_without_room_for_a_session_is_told_everything_every_time() -> None:
    session = Session(LIMITS)
    session.want({A0: 5, A1: 0})
    for offset in (5, 6, 7):
        session.move(A0, offset)
        heard = Heard(session.request())
        assert heard.is_full({A0: offset, A1: 0})
        assert heard.session == NO_SESSION
        session.answered(NO_SESSION)


def test_after_the_last_epoch_comes_the_first_which_is_not_that_of_a_new_session() -> None:
    session = opened({A0: 5})
    session._epoch = LAST_EPOCH  # noqa: SLF001 - two thousand million requests would lead here
    assert Heard(session.request()).epoch == LAST_EPOCH
    session.answered(ID)
    assert Heard(session.request()).epoch == 1


steps = st.lists(
    st.one_of(
        st.tuples(st.just("want"), st.dictionaries(st.sampled_from([A0, A1, B0]), st.integers(0, 3))),
        st.tuples(st.just("move"), st.tuples(st.sampled_from([A0, A1, B0]), st.integers(0, 3))),
        st.tuples(st.just("ask"), st.sampled_from(["answered", "lost", "full"])),
    ),
    max_size=30,
)


@given(steps)
def test_after_every_request_the_broker_knows_exactly_what_is_wanted(steps: list[tuple[str, Any]]) -> None:
    session, known_as = Session(LIMITS), NO_SESSION
    wanted: dict[TopicPartition, int] = {}
    knows: dict[TopicPartition, int] = {}
    for kind, what in [*steps, ("ask", "answered")]:
        match kind:
            case "want":
                wanted = dict(what)
                session.want(dict(what))
            case "move":
                where, offset = what
                wanted |= {where: offset} if where in wanted else {}
                session.move(where, offset)
            case _:
                heard = Heard(session.request())
                if heard.epoch == 0:
                    knows = {}
                else:
                    assert heard.session == known_as
                assert heard.forgotten <= knows.keys()
                knows = {where: at for where, at in (knows | heard.asked).items() if where not in heard.forgotten}
                assert knows == wanted == session.told
                if what == "lost":
                    knows = {A0: -1}  # nobody can tell
                    session.begin_again()
                    continue
                if heard.epoch == 0:
                    known_as = NO_SESSION if what == "full" else ID
                session.answered(known_as)


def test_an_answer_tells_of_several_partitions_of_several_topics() -> None:
    data = answer_of(("a", [(0, 0, b"first"), (1, 0, b"")]), ("b", [(0, 0, b"\x00\xff third")]))
    expected = (Part(A0, 0, b"first"), Part(A1, 0, b""), Part(B0, 0, b"\x00\xff third"))
    assert read_answer(data) == Answer(0, ID, expected)


def test_the_bytes_of_an_answer_are_those_of_the_protocol() -> None:
    data = bytes.fromhex(
        "00000000 0000 00001267 00000001"  # throttle, code, session, topics
        "0001 61 00000001"  # "a", partitions
        "00000001 0000 000000000000000a 0000000000000009 0000000000000000"  # partition, code, three offsets
        "00000002 0000000000000001 0000000000000002 0000000000000003 0000000000000004"  # aborted transactions
        "00000003 78797a"  # batches
    )
    assert read_answer(data) == Answer(0, ID, (Part(A1, 0, b"xyz"),))


def test_where_lists_are_null_there_is_nothing() -> None:
    part = struct.pack(">ihqqqii", 0, 0, 9, 9, 0, -1, -1)
    data = struct.pack(">ihii", 0, 0, ID, 1) + b"\x00\x01a" + struct.pack(">i", 2) + part + part
    assert read_answer(data).parts == (Part(A0, 0, b""), Part(A0, 0, b""))


def test_a_partition_that_is_refused_does_not_hide_its_neighbours() -> None:
    data = answer_of(("a", [(0, 6, b""), (1, 0, b"there")]))
    assert read_answer(data).parts == (Part(A0, 6, b""), Part(A1, 0, b"there"))


def test_an_error_of_the_whole_comes_without_partitions() -> None:
    lost = answer_of(code=InvalidFetchSessionEpoch.errno, session=0)
    assert read_answer(lost) == Answer(InvalidFetchSessionEpoch.errno, 0, ())


def test_an_answer_that_ends_too_early_is_refused_wherever_it_ends() -> None:
    data = answer_of(("a", [(0, 0, b"first"), (1, 0, b"second")]), ("b", [(0, 0, b"third")]))
    for end in range(len(data)):
        with pytest.raises(struct.error):
            read_answer(data[:end])


def test_a_broker_that_does_not_speak_this_version_is_refused() -> None:
    request = Session(LIMITS).request()
    assert request.prepare({1: (4, 17)}) is request
    for versions in ({1: (0, 9)}, {1: (11, 17)}, {}):
        with pytest.raises(IncompatibleBrokerVersion, match="Fetch v10"):
            request.prepare(versions)


def test_the_header_of_a_request_names_api_version_correlation_and_client() -> None:
    header = Session(LIMITS).request().build_request_header(77, "reader").encode()
    assert header == bytes.fromhex("0001 000a 0000004d 0006") + b"reader"
