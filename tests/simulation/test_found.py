"""What the simulation has found, told as stories in a world where nothing else goes wrong."""

import asyncio
from collections.abc import Mapping

import msgspec

from holdfast.app.records import Wire as Records
from holdfast.core.commands import Addressed, Command, SignalRun, StartRun, StepResult, TerminateRun
from holdfast.core.identity import shard_of
from holdfast.core.payload import Payload
from holdfast.ports.journal import ShardBatch
from holdfast.ports.log import Outgoing
from tests.simulation.audit import CODEC
from tests.simulation.groups import Progress
from tests.simulation.processes import ORCHESTRATOR, RUN, Slot
from tests.simulation.workflows import SIGNAL
from tests.simulation.world import SHARDS, World, tell

NOTHING = Progress("", 0)
RUN_ID = "run-0"
SHARD = shard_of(RUN_ID, SHARDS)


def record(world: World, command: Command, run: str = RUN_ID) -> Outgoing:
    ce_type, value = CODEC.encode_command(Addressed(run, command))
    headers = (("ce_type", ce_type.encode()), ("content-type", b"application/avro"))
    return Outgoing(world.topics.commands, run.encode(), value, headers, shard_of(run, SHARDS))


def start(workflow: str, run: str = RUN_ID) -> StartRun:
    data = msgspec.json.encode({"run": run, "size": 1, "how": "charge"})
    return StartRun(workflow=workflow, input=Payload(data=data))


def result(world: World, step_id: str, value: str) -> Outgoing:
    payload = Payload(data=msgspec.json.encode(value))
    said = StepResult(run_id=RUN_ID, incarnation=0, step_id=step_id, attempt=1, result=payload)
    return Records(world.topics, CODEC, SHARDS).result(said, world.now())


def process(world: World, name: str, kind: str) -> Slot:
    slot = Slot(world, name, kind)
    world.slots.append(slot)
    slot.start()
    return slot


def dead_signals(world: World) -> list[SignalRun]:
    letters = [letter for part in world.broker.partitions[world.topics.dlq] for letter in part]
    commands = [CODEC.decode_command(letter.headers, letter.value).command for letter in letters]
    return [command for command in commands if isinstance(command, SignalRun)]


def ended(world: World) -> bool:
    return RUN_ID in world.auditor.runs and world.auditor.runs[RUN_ID].ended


def test_a_signal_and_its_start_in_one_slice_leave_nothing_in_the_inbox() -> None:
    async def story(world: World) -> None:
        text = Payload(data=b'"hello"')
        signal = record(world, SignalRun(name=SIGNAL, message_id="m", input=text))
        world.broker.append([signal, record(world, start("listener"))], "shop")
        process(world, "run", RUN)
        await world.until(lambda: ended(world))
        assert world.truth.inbox_rows == {}
        assert world.truth.signals == {(RUN_ID, "m")}

    tell(story)


def test_who_takes_a_shard_after_the_log_was_lost_reads_the_new_one_from_its_beginning() -> None:
    async def story(world: World) -> None:
        one, other = process(world, "one", RUN), process(world, "other", RUN)
        await world.until(lambda: len({row.owner for row in world.truth.rows.values()} - {""}) == 2)
        owner, heir = (one, other) if world.truth.rows[SHARD].owner == "one.1" else (other, one)
        group = world.broker.groups["sim.orchestrator"]
        world.broker.append([record(world, start("failing")), record(world, start("failing"))], "shop")
        await world.until(lambda: group.progress.get((world.topics.commands, SHARD), NOTHING).offset == 2)

        owner.lives[-1].pause()  # for ever
        world.broker.lose(offsets_too=False)
        signals = [SignalRun(name=SIGNAL, message_id=f"m{n}") for n in range(3)]
        world.broker.append([record(world, signal) for signal in signals], "shop")

        await world.until(lambda: world.truth.rows[SHARD].owner == heir.lives[-1].name)
        # The run has ended: each of the signals is a dead letter.
        await world.until(lambda: {signal.message_id for signal in dead_signals(world)} == {"m0", "m1", "m2"})

    tell(story)


def test_shards_that_are_lost_one_after_the_other_are_all_read_again() -> None:
    other = next(f"run-{n}" for n in range(99) if shard_of(f"run-{n}", SHARDS) != SHARD)

    async def story(world: World) -> None:
        owner = process(world, "run", RUN)
        await world.until(lambda: {row.owner for row in world.truth.rows.values()} == {"run.1"})
        for run in (RUN_ID, other):
            # An answer that was lost: the store has raised the epoch, and the owner does not know.
            world.truth.take([shard_of(run, SHARDS)], owner.lives[-1].name)
            world.broker.append([record(world, start("failing", run), run)], "shop")
            await asyncio.sleep(3)
        await world.until(lambda: all(run in world.auditor.runs for run in (RUN_ID, other)))

    tell(story)


def test_a_run_that_ends_on_top_of_a_commit_under_way_stays_in_memory_until_its_end_is_committed() -> None:
    async def story(world: World) -> None:
        audited = world.truth.heard
        twice = [record(world, TerminateRun(reason="over"))]

        def heard(batch: Mapping[int, ShardBatch], by: str) -> None:
            audited(batch, by)
            if world.auditor.runs[RUN_ID].seq == 3:
                world.truth.failovers += 1  # the answer to this very commit is lost
                world.broker.append(twice, "shop")
                world.loop.call_later(0.01, world.broker.append, twice, "shop", context=world.loop.outside)

        world.truth.heard = heard
        world.broker.append([record(world, start("terminated"))], "shop")
        process(world, "run", RUN)
        await world.until(lambda: ended(world))
        await asyncio.sleep(1)

    tell(story, times=20)


def test_a_zombie_says_nothing_of_a_run_that_others_have_led_on() -> None:
    async def story(world: World) -> None:
        zombie = process(world, "zombie", ORCHESTRATOR)
        world.broker.append([record(world, start("order"))], "shop")
        await world.until(lambda: RUN_ID in world.auditor.runs)
        zombie.lives[-1].pause()
        heir = process(world, "heir", ORCHESTRATOR)
        await world.until(lambda: world.truth.rows[SHARD].owner == heir.lives[-1].name)
        world.broker.append([result(world, "act#1", f"{RUN_ID}:reserve")], "worker")
        await world.until(lambda: "act#2" in world.auditor.runs[RUN_ID].open_steps)

        # All that the zombie will read is of a step that it never heard of.
        world.broker.lose(offsets_too=True)
        world.broker.append([result(world, "act#2", f"{RUN_ID}:part-0")], "worker")
        world.loop.go_on(zombie.lives[-1])
        await world.until(lambda: "act#2" not in world.auditor.runs[RUN_ID].open_steps)
        assert sum(map(len, world.broker.partitions[world.topics.dlq])) == 0

    tell(story)
