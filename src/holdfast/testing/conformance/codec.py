"""What every adapter of `ports.codec` must do. Subclass `CodecConformance` and give it `codec`."""

import types
import typing
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.core.commands import (
    Addressed,
    CancelRun,
    Command,
    ExecuteStep,
    PurgeRun,
    ResolveEffect,
    ResumeRun,
    RunOutcome,
    SignalRun,
    StartRun,
    StepResult,
    TerminateRun,
)
from holdfast.core.events import TYPES, Event, RunCompleted, StepCompleted
from holdfast.core.payload import NOTHING, Payload
from holdfast.core.retry import Failure
from holdfast.ports.codec import Codec, Unreadable
from holdfast.ports.log import Headers

Strategy = st.SearchStrategy[Any]

_LEAVES: dict[Any, Strategy] = {
    # Beyond 4,096 bytes a length is written by another path, as it is beyond one byte.
    str: st.text(max_size=40) | st.integers(60, 5_000).map(lambda size: "ü" * size),
    bytes: st.binary(max_size=40) | st.integers(60, 5_000).map(bytes),
    int: st.integers(-(2**63), 2**63 - 1) | st.integers(-200, 5_000),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    dict[str, str]: st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3),
    tuple[str, ...]: st.lists(st.text(max_size=8), max_size=3).map(tuple),
}


def values(kind: Any) -> Strategy:
    """Draw values of a type that records hold: a leaf, one or None, or a struct of them."""
    if kind in _LEAVES:
        return _LEAVES[kind]
    if isinstance(kind, types.UnionType):
        return st.one_of(*(st.none() if branch is type(None) else values(branch) for branch in typing.get_args(kind)))
    return st.builds(kind, **{field.name: values(field.type) for field in msgspec.structs.fields(kind)})


RUN_IDS = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="/"), min_size=1, max_size=255)
EVENTS = st.one_of(*map(values, TYPES.values()))
ASKED = st.one_of(
    *map(values, (StartRun, CancelRun, TerminateRun, ResumeRun, PurgeRun)),
    st.builds(SignalRun, name=values(str), message_id=st.text(min_size=1, max_size=20), input=values(Payload)),
)
COMMANDS = st.builds(Addressed, RUN_IDS, ASKED, st.none() | st.integers(0, 2**31))

_any_value = settings(
    deadline=None,
    # A codec keeps nothing of the values that went through it, and a suite is there to be inherited.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors, HealthCheck.too_slow],
)

START = '{"run_id": "order-1042", "workflow": "prescription_order", "input": {"note": "R -1.25"}}'


def headers(**named: str) -> Headers:
    """Write headers as a producer without an SDK does."""
    return tuple((name.replace("content_type", "content-type"), value.encode()) for name, value in named.items())


def json_command(kind: str, **more: str) -> Headers:
    return headers(content_type="application/json", ce_type=f"holdfast.{kind}.v1", **more)


class CodecConformance:
    """The laws of the port, as tests."""

    @pytest.fixture
    def codec(self) -> Codec:
        """The adapter under test."""
        raise NotImplementedError

    # What is encoded decodes to an equal value.

    @_any_value
    @given(event=EVENTS)
    def test_an_event_comes_back(self, codec: Codec, event: Event) -> None:
        assert codec.decode_event(type(event).__name__, codec.encode_event(event)) == event

    @_any_value
    @given(event=EVENTS)
    def test_an_event_comes_back_from_the_wire_too(self, codec: Codec, event: Event) -> None:
        wired = codec.wire(codec.encode_event(event))
        assert codec.decode_event(type(event).__name__, wired) == event
        assert codec.wire(wired) == wired

    @_any_value
    @given(addressed=COMMANDS)
    def test_a_command_comes_back_with_its_address(self, codec: Codec, addressed: Addressed) -> None:
        ce_type, value = codec.encode_command(addressed)
        assert ce_type == f"holdfast.{type(addressed.command).__name__}.v1"
        assert codec.decode_command((), value) == addressed

    @_any_value
    @given(task=values(ExecuteStep))
    def test_a_task_comes_back(self, codec: Codec, task: ExecuteStep) -> None:
        assert codec.decode_task(codec.encode_task(task)) == task

    @_any_value
    @given(result=values(StepResult))
    def test_a_result_comes_back(self, codec: Codec, result: StepResult) -> None:
        assert codec.decode_result(codec.encode_result(result)) == result

    @_any_value
    @given(outcome=values(RunOutcome))
    def test_an_outcome_comes_back(self, codec: Codec, outcome: RunOutcome) -> None:
        assert codec.decode_outcome(codec.encode_outcome(outcome)) == outcome

    def test_whether_a_signal_was_seen_is_ours_alone_and_not_on_the_wire(self, codec: Codec) -> None:
        seen = Addressed("order-1042", SignalRun(name="shipped", message_id="m1", seen=True))
        unseen = Addressed("order-1042", SignalRun(name="shipped", message_id="m1"))
        assert codec.decode_command((), codec.encode_command(seen)[1]) == unseen

    # What a sender got wrong is Unreadable, never another exception.

    @_any_value
    @given(value=st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
    def test_random_bytes_are_unreadable(self, codec: Codec, value: bytes) -> None:
        for decode in decoders(codec):
            with pytest.raises(Unreadable):
                decode(value)

    @_any_value
    @given(event=EVENTS, data=st.data())
    def test_a_truncated_record_is_unreadable(self, codec: Codec, event: Event, data: st.DataObject) -> None:
        whole = codec.encode_event(event)
        part = whole[: data.draw(st.integers(0, len(whole) - 1))]
        with pytest.raises(Unreadable):
            codec.decode_event(type(event).__name__, part)

    @_any_value
    @given(addressed=COMMANDS, data=st.data())
    def test_a_spoilt_command_is_unreadable_or_another_command(
        self, codec: Codec, addressed: Addressed, data: st.DataObject
    ) -> None:
        spoilt = bytearray(codec.encode_command(addressed)[1])
        for _ in range(data.draw(st.integers(1, 4))):
            spoilt[data.draw(st.integers(0, len(spoilt) - 1))] = data.draw(st.integers(0, 255))
        assert isinstance(read(codec, (), bytes(spoilt)), Addressed | Unreadable)

    @_any_value
    @given(event=EVENTS, rest=st.binary(min_size=1, max_size=5))
    def test_bytes_after_a_record_are_unreadable(self, codec: Codec, event: Event, rest: bytes) -> None:
        with pytest.raises(Unreadable) as refused:
            codec.decode_event(type(event).__name__, codec.encode_event(event) + rest)
        assert refused.value.reason == "unreadable"

    @pytest.mark.parametrize("value", [b"", b"\xc3", b"\xc3\x01", b"\x00\x00", b"nothing of ours", b"[1]"])
    def test_what_has_no_header_is_unreadable_and_the_text_says_what_was_found(
        self, codec: Codec, value: bytes
    ) -> None:
        for decode in decoders(codec):
            with pytest.raises(Unreadable, match=r"empty value|bytes that begin with") as refused:
                decode(value)
            assert refused.value.reason == "unreadable"

    def test_a_fingerprint_of_nobody_is_an_unknown_schema(self, codec: Codec) -> None:
        with pytest.raises(Unreadable, match="0102030405060708") as refused:
            codec.decode_command((), b"\xc3\x01\x01\x02\x03\x04\x05\x06\x07\x08")
        assert refused.value.reason == "unknown_schema"

    def test_an_id_that_no_registry_knows_is_an_unknown_schema(self, codec: Codec) -> None:
        with pytest.raises(Unreadable, match="schema id 4294967295") as refused:
            codec.decode_command((), b"\x00\xff\xff\xff\xff")
        assert refused.value.reason == "unknown_schema"

    def test_a_record_of_another_kind_is_an_unknown_type(self, codec: Codec) -> None:
        event = codec.encode_event(RunCompleted(result=NOTHING))

        def step_completed(value: bytes) -> Event:
            return codec.decode_event("StepCompleted", value)

        for decode in (*decoders(codec), step_completed):
            with pytest.raises(Unreadable, match="RunCompleted") as refused:
                decode(event)
            assert refused.value.reason == "unknown_type"

    def test_an_event_of_a_newer_version_is_an_unknown_type(self, codec: Codec) -> None:
        with pytest.raises(Unreadable, match="StepTeleported") as refused:
            codec.decode_event("StepTeleported", codec.encode_event(RunCompleted(result=NOTHING)))
        assert refused.value.reason == "unknown_type"

    @pytest.mark.parametrize("run_id", ["", "a/b", "x" * 256, "Auftrag-ü", "a\nb"])
    def test_a_run_id_that_is_none_is_refused_at_the_door(self, codec: Codec, run_id: str) -> None:
        _, value = codec.encode_command(Addressed(run_id, CancelRun()))
        with pytest.raises(Unreadable) as refused:
            codec.decode_command((), value)
        assert refused.value.reason == "run_id"

    # Commands in JSON, from producers without an SDK.

    @pytest.mark.parametrize(
        "content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON"]
    )
    def test_a_start_in_json(self, codec: Codec, content_type: str) -> None:
        named = headers(content_type=content_type, ce_type="holdfast.StartRun.v1", ce_id="1", ce_source="shop")
        assert codec.decode_command(named, START.encode()) == Addressed(
            "order-1042", StartRun(workflow="prescription_order", input=Payload(data=b'{"note": "R -1.25"}'))
        )

    @pytest.mark.parametrize("white", ["", " ", "\n\t"])
    def test_json_without_a_content_type_is_known_by_its_brace(self, codec: Codec, white: str) -> None:
        addressed = codec.decode_command(headers(ce_type="holdfast.StartRun.v1"), f"{white}{START}".encode())
        assert addressed.run_id == "order-1042"

    def test_a_start_in_json_with_everything_and_more(self, codec: Codec) -> None:
        value = (
            b'{"input": [1.10, "\\u00fc"], "version": "2", "attributes": {"shop": "7"}, "workflow": "w",'
            b' "run_id": "r", "colour": {"not": "ours"}}'
        )
        assert codec.decode_command(json_command("StartRun"), value) == Addressed(
            "r",
            StartRun(workflow="w", version="2", input=Payload(data=b'[1.10, "\\u00fc"]'), attributes={"shop": "7"}),
        )

    def test_what_is_optional_in_json_may_be_left_out_or_null(self, codec: Codec) -> None:
        nulls = b'{"run_id": "r", "workflow": "w", "version": null, "attributes": null, "input": null}'
        for value in (b'{"run_id": "r", "workflow": "w"}', nulls):
            assert codec.decode_command(json_command("StartRun"), value) == Addressed("r", StartRun(workflow="w"))

    def test_a_signal_in_json(self, codec: Codec) -> None:
        value = b'{"run_id": "r", "name": "shipped", "message_id": "m1", "input": 7}'
        assert codec.decode_command(json_command("SignalRun", ce_id="1", ce_source="shop"), value) == Addressed(
            "r", SignalRun(name="shipped", message_id="m1", input=Payload(data=b"7"))
        )

    def test_cancel_terminate_and_resume_in_json(self, codec: Codec) -> None:
        assert codec.decode_command(json_command("CancelRun"), b'{"run_id": "r"}') == Addressed("r", CancelRun())
        value = b'{"run_id": "r", "reason": "lost", "by": "ada"}'
        assert codec.decode_command(json_command("CancelRun"), value).command == CancelRun(reason="lost")
        assert codec.decode_command(json_command("TerminateRun"), value).command == TerminateRun(reason="lost")
        assert codec.decode_command(json_command("ResumeRun"), value).command == ResumeRun(by="ada")

    def test_a_verdict_on_an_effect_in_json(self, codec: Codec) -> None:
        said = '"run_id": "r", "step_id": "charge#1", "version": 3, "by": "ada", "reason": "seen"'
        common: Any = {"step_id": "charge#1", "version": 3, "by": "ada", "reason": "seen"}

        def read(more: str) -> Command:
            return codec.decode_command(json_command("ResolveEffect"), f"{{{said}, {more}}}".encode()).command

        assert read('"verdict": "succeeded", "result": {"id": 1.10}') == ResolveEffect(
            verdict="succeeded", result=Payload(data=b'{"id": 1.10}'), **common
        )
        assert read('"verdict": "retry"') == ResolveEffect(verdict="retry", **common)
        for written, message in (('"verdict": "failed", "error": "stolen"', "stolen"), ('"verdict": "failed"', "seen")):
            failure = Failure("Resolved", message, step="charge#1", retryable=False)
            assert read(written) == ResolveEffect(verdict="failed", error=failure, **common)
        with pytest.raises(Unreadable, match="not one of succeeded, failed, retry"):
            read('"verdict": "perhaps"')

    def test_json_without_a_type_is_not_guessed_at(self, codec: Codec) -> None:
        for named in (headers(content_type="application/json"), headers(ce_type="orders.Placed.v1"), ()):
            with pytest.raises(Unreadable, match=r"ce_type.*holdfast\.StartRun\.v1") as refused:
                codec.decode_command(named, START.encode())
            assert refused.value.reason == "unknown_type"

    @pytest.mark.parametrize("value", [b'{"workflow": "w"}', b'{"workflow": "w", "run_id": null}'])
    def test_json_without_a_run_id_is_refused_and_the_key_is_not_asked(self, codec: Codec, value: bytes) -> None:
        with pytest.raises(Unreadable, match="no run_id") as refused:
            codec.decode_command(json_command("StartRun"), value)
        assert refused.value.reason == "run_id"

    @pytest.mark.parametrize("run_id", ["7", '""', '"a/b"', '["r"]'])
    def test_json_with_a_bad_run_id_is_refused(self, codec: Codec, run_id: str) -> None:
        with pytest.raises(Unreadable, match="run id") as refused:
            codec.decode_command(json_command("StartRun"), f'{{"workflow": "w", "run_id": {run_id}}}'.encode())
        assert refused.value.reason == "run_id"

    @pytest.mark.parametrize(
        ("value", "told"),
        [
            (b'{"run_id": "r"}', "workflow"),
            (b'{"run_id": "r", "workflow": 7}', "Expected `str`, got `int`"),
            (b'{"run_id": "r", "workflow": "w", "attributes": {"n": 1}}', "attributes"),
            (b'{"run_id": "r", "workflow": "w", "input": }', "JSON"),
            (b'{"run_id": "r", "workflow": "w"', "truncated"),
            (b'{"run_id": "r", "workflow": "w", "input": "\xff"}', "utf-8"),
            (b'["r"]', "array"),
            (b"", "truncated"),
            (b'{"input":' + b"[" * 100_000, "StartRun"),
        ],
    )
    def test_json_of_another_shape_is_unreadable_and_says_where(self, codec: Codec, value: bytes, told: str) -> None:
        with pytest.raises(Unreadable, match=told) as refused:
            codec.decode_command(json_command("StartRun"), value)
        assert refused.value.reason == "unreadable"

    @_any_value
    @given(value=st.binary(max_size=60) | st.text('{}[]":, runidwokflow0', max_size=60).map(str.encode))
    def test_random_json_is_unreadable_or_happens_to_be_a_command(self, codec: Codec, value: bytes) -> None:
        for kind in ("StartRun", "SignalRun", "CancelRun"):
            assert isinstance(read(codec, json_command(kind), value), Addressed | Unreadable)

    # A signal is taken once, by its message id.

    def test_a_signal_without_message_id_is_named_by_its_record(self, codec: Codec) -> None:
        named = json_command("SignalRun", ce_id="77", ce_source="https://shop.example")
        for value in (b'{"run_id": "r", "name": "n"}', b'{"run_id": "r", "name": "n", "message_id": ""}'):
            command = codec.decode_command(named, value).command
            assert command == SignalRun(name="n", message_id="https://shop.example/77")
        _, value = codec.encode_command(Addressed("r", SignalRun(name="n", message_id="")))
        assert codec.decode_command(named, value).command == SignalRun(name="n", message_id="https://shop.example/77")

    @pytest.mark.parametrize("more", [{}, {"ce_source": "shop"}])
    def test_a_signal_that_nothing_names_is_refused(self, codec: Codec, more: dict[str, str]) -> None:
        # One source sends many signals: by the source alone, all but the first would be lost as duplicates.
        with pytest.raises(Unreadable, match="ce_id") as refused:
            codec.decode_command(json_command("SignalRun", **more), b'{"run_id": "r", "name": "n"}')
        assert refused.value.reason == "message_id"

    def test_equal_values_are_equal_bytes(self, codec: Codec) -> None:
        once, again = (StepCompleted(step_id="read#1", attempt=1, result=Payload(data=b"7")) for _ in range(2))
        assert codec.encode_event(once) == codec.encode_event(again)


def read(codec: Codec, named: Headers, value: bytes) -> Addressed | Unreadable:
    """Read a command, or tell why not; any other exception is a failure of the codec."""
    try:
        return codec.decode_command(named, value)
    except Unreadable as refused:
        return refused


def decoders(codec: Codec) -> tuple[Callable[[bytes], Any], ...]:
    """All readers of records that come from others."""
    return (
        lambda value: codec.decode_command((), value),
        codec.decode_task,
        codec.decode_result,
        codec.decode_outcome,
    )
