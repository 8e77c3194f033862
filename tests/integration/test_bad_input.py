"""What is wrong with what comes in: each thing is a one-line error, a dead letter or a parked run; the next is handled.

Laws of this file:
- Nothing is lost: a dead letter has the bytes and headers of the record that it was, a parked run its input.
- After each wrong message, a right one is sent on the same way and has to be handled.
"""

import asyncio
import base64
import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import psycopg
import pytest

from holdfast import Client, signal, step, workflow
from holdfast.adapters.avro.codec import AvroCodec
from holdfast.client import RunExists
from holdfast.core.commands import Addressed, SignalRun, StartRun, StepResult
from holdfast.core.identity import InvalidRunId, shard_of
from holdfast.core.payload import INLINE_LIMIT, NOTHING, Payload
from holdfast.ports.log import TooLarge, TopicMissing, Unreachable
from holdfast.ports.store import Store
from holdfast.profiles import install, open_profile
from holdfast.profiles.engine import Engine
from holdfast.settings import Settings
from tests.integration.bus import DEADLINE, SHARDS, Letter, Running, json_headers, running, serving, settings_on
from tests.servers import Servers

pytestmark = [pytest.mark.servers, pytest.mark.timeout(180)]

MEGABYTE = 1024 * 1024
BROKER_LIMIT = 1_048_588
CODEC = AvroCodec()
AVRO = {"content-type": "application/avro", "ce_id": "x", "ce_source": "/tests"}


@step
async def bad_size(text: str) -> int:
    return len(text)


@step
async def bad_echo(text: str) -> str:
    return text


@workflow
async def bad_fine(number: int) -> int:
    return await bad_size("x" * number)


@workflow
async def bad_large(text: str) -> str:
    assert await bad_size(text) == len(text)
    return await bad_echo(text)


@workflow
async def bad_waiting() -> str:
    return await signal("word", str)


@workflow
async def bad_step_id(name: str) -> str:
    return await bad_echo.options(id=name)("it ran")


@workflow
async def bad_queue(text: str) -> str:
    return await bad_echo.options(queue="never-named")(text)


@pytest.fixture
async def here(servers: Servers, namespace: str) -> AsyncIterator[Running]:
    async with running(settings_on(servers, namespace)) as one:
        yield one


async def next_is_handled(here: Running, run_id: str = "next") -> None:
    """A right start on every shard is done, and so all that was sent before it has been decided on."""
    runs = [
        next(f"{run_id}-{n}" for n in range(1_000) if shard_of(f"{run_id}-{n}", SHARDS) == s) for s in range(SHARDS)
    ]
    for one in runs:
        here.bus.say("StartRun", {"run_id": one, "workflow": "bad_fine", "input": 3}, ce_id=one, key=one)
    for one in runs:
        assert await here.result(one) == 3


def assert_whole(letter: Letter, value: bytes, headers: dict[str, str], reason: str, topic: str) -> None:
    """A dead letter is the record that it was, with what is the matter and where it stood."""
    assert letter.value == value
    assert letter.headers[: len(headers)] == [(name, text.encode()) for name, text in headers.items()]
    assert letter.header("holdfast_error_class") == reason
    assert letter.header("holdfast_error")
    assert "\n" not in letter.header("holdfast_error")
    assert letter.header("holdfast_source_topic") == topic
    assert int(letter.header("holdfast_source_partition")) in range(SHARDS)
    assert int(letter.header("holdfast_source_offset")) >= 0


def start_in_avro(run_id: str) -> bytes:
    return CODEC.encode_command(Addressed(run_id, StartRun(workflow="bad_fine", input=Payload(data=b"1"))))[1]


def started(run_id: object, **more: object) -> bytes:
    return json.dumps({"run_id": run_id, "workflow": "bad_fine", "input": 1, **more}).encode()


START = json_headers("StartRun", "x")
UNREADABLE = {
    "noise": (b"\x07\xff\xfe noise", AVRO, "unreadable"),
    "nothing at all": (b"", AVRO, "unreadable"),
    "no headers": (b"\x07\xff", {}, "unreadable"),
    "broken JSON": (b'{"run_id": "r", "workflow"', START, "unreadable"),
    "JSON that is no object": (b'["r"]', START, "unreadable"),
    "JSON that is no text": (b'{"run_id": "r", "workflow": "\xff\xfe"}', START, "unreadable"),
    "JSON nested too deeply": (b'{"run_id": "r", "workflow": "w", "input": ' + b"[" * 50_000, START, "unreadable"),
    "a missing field": (b'{"run_id": "r"}', START, "unreadable"),
    "a field of another type": (b'{"run_id": "r", "workflow": 7}', START, "unreadable"),
    "attributes that are no texts": (started("r", attributes={"a": 1}), START, "unreadable"),
    "half a character": (b'{"run_id": "r", "workflow": "\\ud800"}', START, "unreadable"),
    "an unknown ce_type": (started("r"), json_headers("EatRun", "x"), "unknown_type"),
    "no ce_type": (started("r"), {"content-type": "application/json"}, "unknown_type"),
    "Avro cut short": (start_in_avro("r")[:-2], AVRO, "unreadable"),
    "Avro of an unknown schema": (b"\xc3\x01" + b"\x01" * 8 + b"\x02r", AVRO, "unknown_schema"),
    "an id of no registry": (b"\x00\x00\x00\x00\x07\x02r", AVRO, "unknown_schema"),
    "a record that is no command": (
        CODEC.encode_result(StepResult(run_id="r", incarnation=0, step_id="s", attempt=1)),
        AVRO,
        "unknown_type",
    ),
    "no run id": (b'{"workflow": "bad_fine", "input": 1}', START, "run_id"),
    "an empty run id": (started(""), START, "run_id"),
    "a run id with a slash": (started("a/b"), START, "run_id"),
    "a run id with a slash in Avro": (start_in_avro("a/b"), AVRO, "run_id"),
    "a run id with a NUL": (started("a\0b"), START, "run_id"),
    "a run id that is a number": (started(7), START, "run_id"),
    "a run id of 256 characters": (started("r" * 256), START, "run_id"),
    "a signal without any id": (
        b'{"run_id": "r", "name": "n"}',
        {"content-type": "application/json", "ce_type": "holdfast.SignalRun.v1"},
        "message_id",
    ),
}


async def test_what_cannot_be_read_is_a_dead_letter_whole(here: Running) -> None:
    for name, (value, headers, _) in UNREADABLE.items():
        here.bus.put(value, headers, key=name)
    here.bus.flush()
    letters = {(one.key or b"").decode(): one for one in await here.bus.dead(len(UNREADABLE))}
    for name, (value, headers, reason) in UNREADABLE.items():
        assert letters[name].header("holdfast_error_class") == reason, name
        assert_whole(letters[name], value, headers, reason, here.bus.topic("commands"))
    await next_is_handled(here)
    assert await here.absent("r")


async def test_a_record_without_key_or_value_is_a_dead_letter(here: Running) -> None:
    here.bus.send(b"", {}, partition=1)
    (letter,) = await here.bus.dead()
    assert letter.header("holdfast_source_partition") == "1"
    assert letter.header("holdfast_source_offset") == "0"
    await next_is_handled(here)


# ------------------------------------------------------------------------------------------ readable, and yet not right


async def test_an_unknown_workflow_is_a_parked_run_that_completes_once_it_is_deployed(here: Running) -> None:
    said = {"run_id": "r", "workflow": "bad_deployed_later", "input": 4}
    here.bus.say("StartRun", said, ce_id="x", key="r")
    parked = await here.parked("r")
    assert parked.reason == "unknown_workflow"
    assert "bad_deployed_later" in parked.detail
    assert (await here.stored("r")).row.parked == "unknown_workflow"
    await next_is_handled(here)

    @workflow
    async def bad_deployed_later(number: int) -> int:
        return await bad_size("x" * number)

    await here.client.resume("r", by="ada")
    assert await here.result("r") == 4
    assert bad_deployed_later.name == "bad_deployed_later"
    assert here.bus.letters("dlq") == []


async def test_an_input_that_does_not_fit_is_a_parked_run(here: Running) -> None:
    unfit: dict[str, object] = {
        "text": "many",
        "missing": None,
        "several": [1, 2, 3],
        "named": {"numbr": 3},
        "half": 1.5,
    }
    for run_id, given in unfit.items():
        here.bus.say("StartRun", {"run_id": run_id, "workflow": "bad_fine", "input": given}, ce_id=run_id, key=run_id)
    for run_id in unfit:
        parked = await here.parked(run_id)
        assert parked.reason == "unfit_input", run_id
        assert "number" in parked.detail, run_id
    await next_is_handled(here)
    assert here.bus.letters("dlq") == []


async def test_another_start_under_the_same_id_is_a_dead_letter_and_the_same_one_changes_nothing(here: Running) -> None:
    await here.client.start(bad_fine, 3, id="r")
    assert await here.result("r") == 3
    before = (await here.stored("r")).history
    here.bus.send(b' {"input":3 ,  "workflow":"bad_fine","run_id":"r"}', json_headers("StartRun", "same"), key="r")
    assert (await here.client.start(bad_fine, 3, id="r")).run_id == "r"
    with pytest.raises(RunExists, match="r exists"):
        await here.client.start(bad_fine, 4, id="r")
    with pytest.raises(RunExists):
        await here.client.start(bad_large, "x", id="r")
    assert here.bus.letters("dlq") == []

    value, headers = started("r", input=5), json_headers("StartRun", "other")
    here.bus.send(value, headers, key="r")
    (letter,) = await here.bus.dead()
    assert_whole(letter, value, headers, "run_exists_differs", here.bus.topic("commands"))
    await next_is_handled(here)
    assert (await here.stored("r")).history == before


async def test_a_signal_before_its_start_is_delivered_and_one_after_the_end_is_a_dead_letter(here: Running) -> None:
    value, headers = b'{"run_id": "r", "name": "word", "input": "early"}', json_headers("SignalRun", "s1")
    here.bus.send(value, headers, key="r")
    await next_is_handled(here, "before")
    assert await here.absent("r")
    here.bus.say("StartRun", {"run_id": "r", "workflow": "bad_waiting"}, ce_id="x", key="r")
    assert await here.result("r") == "early"
    assert here.bus.letters("dlq") == []

    here.bus.send(value, headers, key="r")  # the same one again is no news
    late = json_headers("SignalRun", "s2")
    here.bus.send(value, late, key="r")
    (letter,) = await here.bus.dead()
    assert_whole(letter, value, late, "run_ended", here.bus.topic("commands"))
    await next_is_handled(here)


async def test_a_signal_of_the_wrong_type_is_a_dead_letter_and_its_run_goes_on(here: Running) -> None:
    here.bus.say("StartRun", {"run_id": "r", "workflow": "bad_waiting"}, ce_id="x", key="r")
    here.bus.say("SignalRun", {"run_id": "r", "name": "word", "input": 12}, ce_id="unfit", key="r")
    (letter,) = await here.bus.dead()
    assert letter.header("holdfast_error_class") == "unfit_signal"
    command = CODEC.decode_command(tuple(letter.headers), letter.value).command
    assert isinstance(command, SignalRun)
    assert (command.name, command.input.data, command.message_id[-6:]) == ("word", b"12", "/unfit")
    here.bus.say("SignalRun", {"run_id": "r", "name": "word", "input": "fit"}, ce_id="fit", key="r")
    assert await here.result("r") == "fit"
    assert "SignalRefused" in [one.type for one in (await here.stored("r")).history]


async def test_a_command_for_a_run_that_nobody_started_is_a_dead_letter(here: Running) -> None:
    headers = json_headers("CancelRun", "c")
    here.bus.send(b'{"run_id": "nobody"}', headers, key="nobody")
    (letter,) = await here.bus.dead()
    assert_whole(letter, b'{"run_id": "nobody"}', headers, "run_unknown", here.bus.topic("commands"))
    await next_is_handled(here)


async def test_a_result_of_a_step_never_scheduled_is_a_dead_letter(here: Running) -> None:
    here.bus.say("StartRun", {"run_id": "r", "workflow": "bad_waiting"}, ce_id="x", key="r")
    await here.stored("r", "RUNNING")
    foreign = {
        run_id: CODEC.encode_result(
            StepResult(run_id=run_id, incarnation=0, step_id="bad_size#7", attempt=1, result=NOTHING)
        )
        for run_id in ("r", "nobody", "no/run", "nul\0run")
    }
    for run_id, value in foreign.items():
        here.bus.send(value, {"content-type": "application/avro"}, key=run_id, kind="results")
    here.bus.send(b"\x07 noise", {}, key="noise", kind="results")
    letters = {(one.key or b"").decode(): one for one in await here.bus.dead(len(foreign) + 1)}
    for run_id in ("r", "nobody"):
        assert_whole(
            letters[run_id],
            foreign[run_id],
            {"content-type": "application/avro"},
            "step_never_scheduled",
            here.bus.topic("results"),
        )
    assert letters["noise"].header("holdfast_error_class") == "unreadable"
    await next_is_handled(here)
    here.bus.say("SignalRun", {"run_id": "r", "name": "word", "input": "still here"}, ce_id="w", key="r")
    assert await here.result("r") == "still here"


async def test_a_task_that_nobody_can_read_is_a_dead_letter_and_the_next_is_executed(
    servers: Servers, namespace: str
) -> None:
    async with running(settings_on(servers, namespace), local=False) as here:
        here.bus.send(b"\x07 noise", {"a": "b"}, key="noise", kind="tasks.default")
        (letter,) = await here.bus.dead()
        assert (letter.value, letter.header("a")) == (b"\x07 noise", "b")
        assert letter.header("holdfast_source_topic") == here.bus.topic("tasks.default")
        await next_is_handled(here)


# -------------------------------------------------------------------------------------------------------------- NUL


async def test_a_nul_in_an_input_is_as_good_as_any_other_character(here: Running) -> None:
    here.bus.say("StartRun", {"run_id": "r", "workflow": "bad_large", "input": "a\0b"}, ce_id="x", key="r")
    assert await here.result("r") == "a\0b"
    run = await here.client.start(bad_large, "\0", id="s")
    assert await run.result() == "\0"
    assert here.bus.letters("dlq") == []


async def test_a_nul_in_an_attribute_parks_the_run_with_its_input_and_the_record_is_kept(here: Running) -> None:
    value, headers = started("r", attributes={"note": "a\0b"}), json_headers("StartRun", "x")
    here.bus.send(value, headers, key="r")
    parked = await here.parked("r")
    assert parked.reason == "refused_by_store"
    (letter,) = await here.bus.dead()
    assert_whole(letter, value, headers, "refused_by_store", here.bus.topic("commands"))
    await next_is_handled(here)
    await here.client.resume("r")
    assert await here.result("r") == 1


async def test_a_nul_in_a_name_that_the_store_has_to_keep_is_a_dead_letter(here: Running) -> None:
    here.bus.say("StartRun", {"run_id": "r", "workflow": "bad_waiting"}, ce_id="x", key="r")
    await here.stored("r", "RUNNING")
    wrong = {
        "message id": ("r", "SignalRun", {"run_id": "r", "name": "word", "message_id": "a\0b", "input": "no"}),
        "message id, early": ("early", "SignalRun", {"run_id": "early", "name": "word", "message_id": "a\0b"}),
        "name, early": ("early", "SignalRun", {"run_id": "early", "name": "wo\0rd", "message_id": "m"}),
        "workflow": ("w", "StartRun", {"run_id": "w", "workflow": "a\0b"}),
    }
    for ce_id, (run_id, kind, said) in wrong.items():
        here.bus.say(kind, said, ce_id=ce_id, key=run_id)
    letters = {one.header("ce_id"): one for one in await here.bus.dead(len(wrong))}
    for ce_id, (_, kind, said) in wrong.items():
        headers = json_headers(kind, ce_id)
        assert_whole(letters[ce_id], json.dumps(said).encode(), headers, "refused_by_store", here.bus.topic("commands"))
    await next_is_handled(here)
    here.bus.say("SignalRun", {"run_id": "r", "name": "wo\0rd", "input": "?"}, ce_id="odd", key="r")
    here.bus.say("SignalRun", {"run_id": "r", "name": "word", "input": "yes"}, ce_id="good", key="r")
    assert await here.result("r") == "yes"


async def test_a_nul_in_a_step_id_parks_that_run_alone(here: Running) -> None:
    here.bus.say("StartRun", {"run_id": "r", "workflow": "bad_step_id", "input": "a\0b"}, ce_id="x", key="r")
    assert (await here.parked("r")).reason == "refused_by_store"
    await next_is_handled(here)
    here.bus.say("StartRun", {"run_id": "s", "workflow": "bad_step_id", "input": "a b"}, ce_id="y", key="s")
    assert await here.result("s") == "it ran"


async def test_a_nul_from_the_client_is_handled_the_same_way(here: Running) -> None:
    await here.client.start(bad_fine, 1, id="r", attributes={"note": "a\0b"})
    assert (await here.parked("r")).reason == "refused_by_store"
    with pytest.raises(InvalidRunId):
        await here.client.start(bad_fine, 1, id="a\0b")
    await next_is_handled(here)


# ------------------------------------------------------------------------------------------------------------- size


@pytest.mark.parametrize("profile", ["embedded", "in memory", "by the log"])
async def test_twenty_megabytes_go_through_the_client_to_step_workflow_and_result(
    servers: Servers, namespace: str, tmp_path: Path, profile: str
) -> None:
    large = "0123456789abcdef" * (20 * MEGABYTE // 16)
    async with serving_of(profile, servers, namespace, tmp_path) as client:
        run = await client.start(bad_large, large, id="r")
        assert await run.result() == large
        stored = await client.profile.store.history("r")
        assert stored is not None
        assert max(len(one.data) for one in stored.history) < INLINE_LIMIT

        waiting = await client.start(bad_waiting, id="w")
        await client.signal("w", "word", large)
        assert await waiting.result() == large
        assert await (await client.start(bad_fine, 3)).result() == 3


@asynccontextmanager
async def serving_of(profile: str, servers: Servers, namespace: str, folder: Path) -> AsyncIterator[Client]:
    if profile == "embedded":
        settings = Settings(store=f"sqlite:///{folder / 'holdfast.db'}")
        async with serving(settings), Client(settings) as client:
            yield client
    else:
        async with running(settings_on(servers, namespace), local=profile == "in memory") as here:
            yield here.client


async def test_what_is_over_the_limit_of_the_broker_is_a_one_line_error_of_the_client(here: Running) -> None:
    with pytest.raises(TooLarge) as told:
        await here.client.start(bad_fine, 3, id="r", attributes={"note": "x" * 2 * MEGABYTE})
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 300
    with pytest.raises(TooLarge):
        await here.client.signal("r", "x" * 2 * MEGABYTE)
    with pytest.raises(TooLarge):
        await here.client.cancel("r", "x" * 2 * MEGABYTE)
    assert await (await here.client.start(bad_fine, 3, id="r")).result() == 3
    await next_is_handled(here)


async def test_an_input_that_was_small_on_the_wire_alone_is_kept_aside_and_the_events_have_no_hole(
    here: Running,
) -> None:
    large = "0123456789abcdef" * (5 * MEGABYTE // 16)
    headers = json_headers("StartRun", "x")
    for run_id, name in (("r", "bad_large"), ("w", "bad_waiting")):
        value = json.dumps({"run_id": run_id, "workflow": name, "input": large if run_id == "r" else None}).encode()
        here.bus.send(value, headers, key=run_id, **{"compression.type": "gzip", "message.max.bytes": 20 * MEGABYTE})
    said = json.dumps({"run_id": "w", "name": "word", "input": large}).encode()
    signalled = json_headers("SignalRun", "s")
    here.bus.send(said, signalled, key="w", **{"compression.type": "gzip", "message.max.bytes": 20 * MEGABYTE})
    assert await here.result("r") == large
    assert await here.result("w") == large
    await next_is_handled(here)
    letters = await here.bus.until("events", lambda found: sum(one.key == b"r" for one in found) >= 6)
    assert [one.header("ce_id") for one in letters if one.key == b"r"] == [f"r/0/{seq}" for seq in range(1, 7)]
    assert here.bus.letters("dlq") == []


async def test_an_event_over_the_limit_of_the_broker_is_a_dead_letter_and_its_run_goes_on(here: Running) -> None:
    note = "0123456789abcdef" * (3 * MEGABYTE // 16)
    value = started("r", attributes={"note": note})
    here.bus.send(
        value,
        json_headers("StartRun", "x"),
        key="r",
        **{"compression.type": "gzip", "message.max.bytes": 20 * MEGABYTE},
    )
    assert await here.result("r") == 1
    letters = {one.header("ce_type"): one for one in await here.bus.dead(2)}
    assert letters.keys() == {"holdfast.RunStarted.v1", "holdfast.RunOutcome.v1"}
    event = letters["holdfast.RunStarted.v1"]
    assert event.header("ce_id") == "r/0/1"
    assert event.header("holdfast_error_class") == "too_large"
    assert event.header("holdfast_source_topic") == here.bus.topic("events")
    kept = await here.client.profile.store.blobs([event.header("holdfast_blob")])
    assert list(kept.values()) == [(await here.stored("r")).history[0].data]
    await next_is_handled(here)


async def test_a_dead_letter_or_an_event_is_a_little_larger_than_its_command_and_still_whole(here: Running) -> None:
    limits = {"message.max.bytes": 20 * MEGABYTE}
    noise, headers = b"\x07" * (BROKER_LIMIT - 200), {"a": "b"}
    here.bus.send(noise, headers, key="noise", **limits)
    (letter,) = await here.bus.dead()
    assert_whole(letter, noise, headers, "unreadable", here.bus.topic("commands"))

    value = started("r", attributes={"note": ""})
    value = started("r", attributes={"note": "x" * (BROKER_LIMIT - len(value) - 250)})
    here.bus.send(value, json_headers("StartRun", "x"), key="r", **limits)
    assert await here.result("r") == 1
    events = await here.bus.until("events", lambda found: sum(one.key == b"r" for one in found) >= 4)
    assert [one.header("ce_id") for one in events if one.key == b"r"] == [f"r/0/{seq}" for seq in range(1, 5)]
    outcomes = await here.bus.until("outcomes", bool)
    assert [one.key for one in outcomes] == [b"r"]
    await next_is_handled(here)
    assert len(here.bus.letters("dlq")) == 1


async def test_a_stray_record_that_no_longer_fits_once_it_is_marked_is_a_dead_letter_whole(here: Running) -> None:
    """Given a record that just fits its topic, on a foreign partition: with one more header it fits no more."""
    headers = json_headers("StartRun", "x")
    foreign = (shard_of("r", SHARDS) + 1) % SHARDS
    low, high = BROKER_LIMIT - 2_000, BROKER_LIMIT
    while high - low > 1:  # find the largest note that the broker takes
        size = (low + high) // 2
        try:
            sized = started("r", attributes={"note": "x" * size})
            await asyncio.to_thread(probe, here, sized, headers)
        except AssertionError:
            high = size
        else:
            low = size
    value = started("r", attributes={"note": "x" * low})
    here.bus.send(value, headers, key="r", partition=foreign, **{"message.max.bytes": 20 * MEGABYTE})
    (letter,) = await here.bus.dead()
    assert letter.value == value
    assert letter.header("holdfast_error_class") == "too_large"
    assert letter.header("ce_id") == "x"
    await next_is_handled(here)


def probe(here: Running, value: bytes, headers: dict[str, str]) -> None:
    """Produce to a topic of the same limit that nobody reads."""
    here.bus.send(value, headers, key="r", kind="stream", **{"message.max.bytes": 20 * MEGABYTE})


async def test_headers_and_keys_over_every_limit_are_kept_whole_in_the_store(here: Running) -> None:
    """Given records that are small on the wire alone: what is too much for any topic are not their values."""
    huge = "0123456789abcdef" * (3 * MEGABYTE // 16)
    packed = {"compression.type": "gzip", "message.max.bytes": 20 * MEGABYTE}
    here.bus.send(b"\x07 noise", {"a": "b", "huge": huge}, key="k", **packed)
    here.bus.send(b"\x07 noise", {"a": "b"}, key=huge, **packed)
    letters = await here.bus.dead(2)
    await next_is_handled(here)
    store = here.client.profile.store
    for letter in letters:
        assert letter.header("holdfast_error_class") == "unreadable"
        assert await blob_of(store, letter.header("holdfast_blob")) == b"\x07 noise"
        kept = json.loads(await blob_of(store, letter.header("holdfast_headers_blob")))
        headers = {name: base64.b64decode(value).decode() for name, value in kept["headers"]}
        assert headers["a"] == "b"
        assert huge in {headers.get("huge"), base64.b64decode(kept["key"]).decode()}


async def blob_of(store: Store, name: str) -> bytes:
    return (await store.blobs([name]))[name]


async def test_what_no_broker_takes_in_one_request_is_a_one_line_error_at_once(here: Running) -> None:
    began = time.monotonic()
    with pytest.raises(TooLarge):
        await here.client.start(bad_fine, 3, id="r", attributes={"note": "x" * 101 * MEGABYTE})
    assert time.monotonic() - began < 10
    await next_is_handled(here)


async def test_a_client_in_the_process_of_the_engine_may_say_what_no_topic_takes(here: Running) -> None:
    async with Client(here.settings, engine=here.engine) as near:
        run = await near.start(bad_fine, 3, id="r", attributes={"note": "x" * 2 * MEGABYTE})
        assert await run.result() == 3
        with pytest.raises(RunExists):
            await near.start(bad_fine, 4, id="r")
    await here.bus.dead(2)
    await next_is_handled(here)


async def test_a_step_for_a_queue_that_was_never_named_before_does_not_hold_up_the_others(
    servers: Servers, namespace: str
) -> None:
    async with running(settings_on(servers, namespace), local=False) as here:
        here.bus.say("StartRun", {"run_id": "r", "workflow": "bad_queue", "input": "x"}, ce_id="x", key="r")
        await here.stored("r", "RUNNING")
        await next_is_handled(here)
        async with serving(here.settings, orchestrator=False, queues=("never-named",)):
            assert await here.result("r") == "x"
        await next_is_handled(here, "after")


# ---------------------------------------------------------------------------------------- at the door, and at start-up


@pytest.mark.parametrize("run_id", ["a/b", "", "a\0b", "ä", "r" * 256, "a\n"])
async def test_an_id_that_is_none_is_refused_at_the_door(tmp_path: Path, run_id: str) -> None:
    settings = Settings(store=f"sqlite:///{tmp_path / 'holdfast.db'}")
    async with Client(settings) as client:
        with pytest.raises(InvalidRunId, match="a run id") as told:
            await client.start(bad_fine, 3, id=run_id)
        assert "\n" not in str(told.value)
        for refused in (client.signal(run_id, "n"), client.cancel(run_id), client.resume(run_id)):
            with pytest.raises(InvalidRunId):
                await refused
        with pytest.raises(InvalidRunId):
            client.run(run_id)


def test_the_command_line_refuses_an_id_that_is_none_in_one_line(tmp_path: Path) -> None:
    for command in (("start", "bad_fine", "--id", "a/b"), ("show", "a/b"), ("signal", "a/b", "n"), ("cancel", "a/b")):
        assert "run id" in complaint(holdfast(tmp_path, *command), 2)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("HOLDFAST_STORE", "mysql://x"),
        ("HOLDFAST_LOG", "rabbit://x"),
        ("HOLDFAST_LOG", "kafka://noport"),
        ("HOLDFAST_LOG", "kafka://127.0.0.1:9"),  # with the SQLite store, which does not go together
        ("HOLDFAST_KEYS", "memcached"),
        ("HOLDFAST_SHARDS", "none"),
        ("HOLDFAST_NAMESPACE", "pg_mine"),
        ("HOLDFAST_HEALTH", "127.0.0.1"),
        ("HOLDFAST_STOER", "sqlite:///x"),
        ("HOLDFAST_KAFKA_SECURITY_PROTOCOL", "TELEPATHY"),
    ],
)
def test_wrong_settings_are_one_line_that_names_the_key(tmp_path: Path, key: str, value: str) -> None:
    (tmp_path / "app.py").write_text(APP)
    for command in (("run", "app.py"), ("dev", "app.py"), ("start", "fine"), ("install",)):
        assert key in complaint(holdfast(tmp_path, *command, **{key: value}), 2)
    assert not (tmp_path / ".holdfast").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("HOLDFAST_STORE", "postgresql://u:geheim%zz@h/x"),
        ("HOLDFAST_STORE", "postgresql://u:p@geheim@h/x"),
        ("HOLDFAST_KEYS", "redis://u:geheim/1@h:1"),
    ],
)
def test_a_url_that_cannot_be_read_is_not_repeated(tmp_path: Path, key: str, value: str) -> None:
    cluster = {"HOLDFAST_LOG": "kafka://127.0.0.1:9", "HOLDFAST_STORE": "postgresql://h/x", key: value}
    said = complaint(holdfast(tmp_path, "start", "fine", **cluster), 2)
    assert key in said
    assert "geheim" not in said


def test_a_file_of_a_newer_version_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    assert holdfast(tmp_path, "install").returncode == 0
    file = tmp_path / ".holdfast" / "holdfast.db"
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key IN ('schema', 'safe_from')")
    connection.close()
    for command in (("dev", "app.py"), ("start", "fine"), ("install",)):
        assert "99" in complaint(holdfast(tmp_path, *command), 4)


def test_a_database_of_a_newer_version_is_not_touched(servers: Servers, namespace: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    cluster = {**servers.settings, "HOLDFAST_NAMESPACE": namespace, "HOLDFAST_SHARDS": str(SHARDS)}
    assert holdfast(tmp_path, "install", **cluster).returncode == 0
    with psycopg.connect(servers.postgres) as connection:
        connection.execute(f"UPDATE {namespace}.meta SET value = '99' WHERE key IN ('schema', 'safe_from')")
    for command in (("run", "app.py"), ("worker", "app.py"), ("start", "fine"), ("install",)):
        assert "99" in complaint(holdfast(tmp_path, *command, **cluster), 4)


def test_a_port_in_use_is_told_by_every_service(servers: Servers, namespace: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    cluster = {**servers.settings, "HOLDFAST_NAMESPACE": namespace, "HOLDFAST_SHARDS": str(SHARDS)}
    assert holdfast(tmp_path, "install", **cluster).returncode == 0
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for command in ("run", "orchestrator", "worker"):
            said = complaint(holdfast(tmp_path, command, "app.py", **cluster, HOLDFAST_HEALTH=address), 4)
            assert address in said
            assert "HOLDFAST_HEALTH" in said


def test_what_is_not_installed_is_told(servers: Servers, namespace: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    cluster = {**servers.settings, "HOLDFAST_NAMESPACE": namespace}
    for command in (("run", "app.py"), ("orchestrator", "app.py"), ("worker", "app.py"), ("start", "fine")):
        assert "holdfast install" in complaint(holdfast(tmp_path, *command, **cluster), 4)


@pytest.mark.parametrize("away", ["HOLDFAST_LOG", "HOLDFAST_STORE"])
def test_without_a_server_every_command_ends_within_ten_seconds(
    servers: Servers, namespace: str, tmp_path: Path, away: str
) -> None:
    (tmp_path / "app.py").write_text(APP)
    cluster = {**servers.settings, "HOLDFAST_NAMESPACE": namespace, "HOLDFAST_SHARDS": str(SHARDS)}
    assert holdfast(tmp_path, "install", **cluster).returncode == 0
    cluster[away] = {"HOLDFAST_LOG": "kafka://127.0.0.1:9", "HOLDFAST_STORE": "postgresql://u:geheim@127.0.0.1:9/x"}[
        away
    ]
    for command in (
        ("run", "app.py"),
        ("orchestrator", "app.py"),
        ("worker", "app.py"),
        ("start", "fine"),
        ("install",),
    ):
        began = time.monotonic()
        said = complaint(holdfast(tmp_path, *command, **cluster), 4)
        assert time.monotonic() - began < 10, command
        assert "127.0.0.1:9" in said
        assert "geheim" not in said


async def test_without_redis_everything_goes_on(servers: Servers, namespace: str) -> None:
    settings = msgspec.structs.replace(settings_on(servers, namespace), keys="redis://127.0.0.1:9")
    async with running(settings, local=False) as here:
        await next_is_handled(here)


@pytest.mark.chaos
async def test_a_broker_that_goes_away_is_waited_for(own_servers: Servers, namespace: str) -> None:
    async with running(settings_on(own_servers, namespace)) as here:
        waiting = await here.client.start(bad_waiting, id="r")
        await here.stored("r", "RUNNING")
        async with Client(here.settings, engine=here.engine) as near:
            await asyncio.to_thread(own_servers.kill, "kafka")
            assert await (await near.start(bad_fine, 3, id="meanwhile")).result() == 3
            with pytest.raises(Unreachable):
                await here.client.start(bad_fine, 3, id="told")
        await asyncio.to_thread(own_servers.start, "kafka")
        async with asyncio.timeout(60):
            await signalled(here, "r")
            assert await waiting.result() == "heard"
        outcomes = await here.bus.until("outcomes", lambda found: {b"r", b"meanwhile"} <= {one.key for one in found})
        assert {one.header("ce_id") for one in outcomes} == {"r/0/3", "meanwhile/0/4"}
        await next_is_handled(here)


@pytest.mark.chaos
async def test_a_service_that_is_told_to_stop_while_the_broker_is_away_ends(
    own_servers: Servers, namespace: str
) -> None:
    settings = settings_on(own_servers, namespace)
    await install(settings)
    async with open_profile(settings) as profile:
        engine = Engine(profile)
        await engine.start()
        async with Client(settings, engine=engine) as near:
            await asyncio.to_thread(own_servers.kill, "kafka")
            assert await (await near.start(bad_fine, 3, id="r")).result() == 3
            async with asyncio.timeout(20):
                await engine.stop(drain=1)
            await asyncio.to_thread(own_servers.start, "kafka")
    async with running(settings) as here:
        outcomes = await here.bus.until("outcomes", bool)
        assert [one.header("ce_id") for one in outcomes] == ["r/0/4"]


async def signalled(here: Running, run_id: str) -> None:
    """Send a signal as an application does: again while the log is away."""
    while True:
        try:
            await here.client.signal(run_id, "word", "heard", message_id="m")
        except (Unreachable, TopicMissing):
            await asyncio.sleep(0.1)
        else:
            return


APP = """
from holdfast import step, workflow


@step
async def size(text: str) -> int:
    return len(text)


@workflow
async def fine(text: str) -> int:
    return await size(text)
"""


def holdfast(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
    return subprocess.run(
        [sys.executable, "-m", "holdfast.cli", *arguments],
        cwd=folder,
        env={**kept, **more},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


def complaint(result: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line of a command that failed as it should."""
    assert result.returncode == code, (result.args, result.returncode, result.stdout, result.stderr)
    assert result.stderr.count("\n") == 1, result.stderr
    assert result.stderr.startswith("holdfast: ")
    return result.stderr
