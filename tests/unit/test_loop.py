"""The deterministic loop: asyncio's own words, driven by timers fired by hand."""

import asyncio
import gc
import logging
import os
import subprocess
import sys
import warnings
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from holdfast.sdk.guard import NotDeterministic
from holdfast.sdk.loop import DurableTimer, Evicted, WorkflowLoop
from holdfast.sdk.turn_limit import TurnTooLong

START = 1_700_000_000_000_000
SRC = Path(__file__).parents[2] / "src"


class Run:
    """The owner of a loop: keeps its timers and fires them in the order they are due."""

    def __init__(self, main: Callable[["Run"], Awaitable[Any]]) -> None:
        self.open: dict[int, DurableTimer] = {}
        self.started: list[float] = []
        self.cancelled: list[int] = []
        self.trace: list[Any] = []
        self.steps: dict[str, asyncio.Future[Any]] = {}
        self.loop = WorkflowLoop(self)
        self.loop.set_time(START)
        self.task = self.loop.create_task(main(self))
        self.loop.drain()

    def start(self, timer: DurableTimer) -> None:
        self.open[timer.number] = timer
        self.started.append(round(timer.when() - self.loop.time(), 6))

    def cancel(self, timer: DurableTimer) -> None:
        del self.open[timer.number]
        self.cancelled.append(timer.number)

    def is_waiting(self) -> bool:
        return bool(self.open or self.steps)

    def step(self, name: str) -> asyncio.Future[Any]:
        """What a durable call looks like to the loop."""
        self.loop.require_live()
        self.steps[name] = self.loop.create_future()
        return self.steps[name]

    def settle(self, name: str, result: Any = None) -> None:
        self.steps[name].set_result(result)
        self.loop.drain()

    def fire(self) -> None:
        timer = min(self.open.values(), key=lambda timer: (timer.due, timer.number))
        del self.open[timer.number]
        self.loop.set_time(timer.due)
        timer.fire()
        self.loop.drain()

    def to_its_end(self) -> Any:
        while not self.task.done():
            self.fire()
        return self.task.result()

    @property
    def elapsed(self) -> float:
        return round(self.loop.time() - START / 1e6, 6)


def test_a_sleep_is_a_durable_timer_and_time_stands_where_its_owner_set_it() -> None:
    async def main(run: Run) -> float:
        before = asyncio.get_running_loop().time()
        await asyncio.sleep(3600)
        await asyncio.sleep(0)
        return asyncio.get_running_loop().time() - before

    run = Run(main)
    assert run.started == [3600]
    assert run.to_its_end() == 3600
    assert run.cancelled == []


def test_gather_gives_results_in_the_order_of_its_arguments() -> None:
    async def nap(run: Run, seconds: float) -> float:
        await asyncio.sleep(seconds)
        run.trace.append(seconds)
        return seconds

    async def main(run: Run) -> Any:
        return await asyncio.gather(nap(run, 3), nap(run, 1), nap(run, 2))

    run = Run(main)
    assert run.to_its_end() == [3, 1, 2]
    assert run.trace == [1, 2, 3]


def test_a_failing_child_of_a_task_group_cancels_the_others_in_the_order_of_their_creation() -> None:
    async def child(run: Run, name: str, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
            if name == "bad":
                raise ValueError(name)
        except asyncio.CancelledError:
            run.trace.append(name)
            raise

    async def main(run: Run) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(40):
                    group.create_task(child(run, f"c{number}", 10))
                group.create_task(child(run, "bad", 1))
        except* ValueError:
            run.trace.append("caught")

    run = Run(main)
    run.to_its_end()
    assert run.trace == [*(f"c{number}" for number in range(40)), "caught"]
    assert run.open == {}


def test_a_task_group_waits_for_all_its_children() -> None:
    async def main(run: Run) -> list[int]:
        async with asyncio.TaskGroup() as group:
            children = [group.create_task(asyncio.sleep(number, number)) for number in (3, 1, 2)]
        return [child.result() for child in children]

    assert Run(main).to_its_end() == [3, 1, 2]


def test_a_timeout_that_passes_raises_and_one_that_does_not_cancels_its_timer() -> None:
    async def main(run: Run) -> str:
        async with asyncio.timeout(10):
            await asyncio.sleep(1)
        try:
            async with asyncio.timeout(2):
                await run.step("never")
        except TimeoutError:
            return "late"
        return "in time"

    run = Run(main)
    assert run.to_its_end() == "late"
    assert run.elapsed == 3
    assert run.cancelled == [1]


def test_a_timeout_already_past_needs_no_timer() -> None:
    async def main(run: Run) -> str:
        try:
            async with asyncio.timeout(-1):
                await run.step("never")
        except TimeoutError:
            return "late"
        return "in time"

    run = Run(main)
    assert run.task.result() == "late"
    assert run.started == []


def test_wait_for_returns_the_result_or_cancels_what_it_waited_for() -> None:
    async def main(run: Run) -> list[Any]:
        seen: list[Any] = [await asyncio.wait_for(asyncio.sleep(1, "quick"), 5)]
        slow = asyncio.create_task(asyncio.sleep(100))
        try:
            await asyncio.wait_for(slow, 5)
        except TimeoutError:
            seen.append(slow.cancelled())
        return seen

    run = Run(main)
    assert run.to_its_end() == ["quick", True]
    assert run.elapsed == 6


def test_wait_first_completed_returns_sets_in_the_order_of_creation() -> None:
    async def main(run: Run) -> list[str]:
        waiting = [asyncio.create_task(asyncio.sleep(10), name=f"t{number}") for number in range(50)]
        quick = asyncio.create_task(asyncio.sleep(1), name="quick")
        done, pending = await asyncio.wait([quick, *waiting], return_when=asyncio.FIRST_COMPLETED)
        assert done == {quick}
        for task in pending:
            task.cancel()
        return [task.get_name() for task in pending]

    assert Run(main).to_its_end() == [f"t{number}" for number in range(50)]


def test_as_completed_over_tasks_follows_the_timers() -> None:
    async def main(run: Run) -> list[int]:
        children = [asyncio.create_task(asyncio.sleep(number, number)) for number in (3, 1, 2)]
        return [await earliest for earliest in asyncio.as_completed(children)]

    assert Run(main).to_its_end() == [1, 2, 3]


async def as_completed_over_a_set_of_coroutines(run: Run) -> None:
    for earliest in asyncio.as_completed({asyncio.sleep(1), asyncio.sleep(2)}):
        await earliest


async def as_completed_over_futures_without_number(run: Run) -> None:
    futures: list[asyncio.Future[None]] = [asyncio.Future(), asyncio.Future()]
    for earliest in asyncio.as_completed(futures):
        await earliest


async def wait_for_futures_without_number(run: Run) -> None:
    await asyncio.wait([asyncio.Future(), asyncio.Future()])


@pytest.mark.parametrize(
    "main",
    [
        as_completed_over_a_set_of_coroutines,
        as_completed_over_futures_without_number,
        wait_for_futures_without_number,
    ],
)
def test_a_set_without_order_is_refused(main: Callable[[Run], Awaitable[None]]) -> None:
    run = Run(main)
    with pytest.raises(NotDeterministic, match=r"asyncio\.(as_completed|wait).*\n.*test_loop\.py:\d+  .*asyncio\."):
        run.task.result()
    run.loop.close()


COMPLETED: dict[str, Callable[[list[Any]], Iterable[Any]]] = {
    "a list": asyncio.as_completed,
    "an iterator": lambda given: asyncio.as_completed(iter(given)),
    "keys": lambda given: asyncio.as_completed(dict.fromkeys(given).keys()),
    "a time limit": lambda given: asyncio.as_completed(given, timeout=99),
}


@pytest.mark.parametrize("form", COMPLETED)
def test_as_completed_begins_coroutines_in_the_order_in_which_they_are_given(form: str) -> None:
    async def main(run: Run) -> list[int]:
        async def one(number: int) -> int:
            begun.append(number)
            await asyncio.sleep(number % 3)
            return number

        begun: list[int] = []
        ended = [await earliest for earliest in COMPLETED[form]([one(number) for number in range(50)])]
        assert begun == list(range(50))
        return ended

    run = Run(main)
    assert run.to_its_end() == sorted(range(50), key=lambda number: number % 3)
    run.loop.close()


def test_wait_and_as_completed_outside_of_a_turn_take_sets_as_ever() -> None:
    async def main() -> set[int]:
        waits = {asyncio.create_task(asyncio.sleep(0, number)) for number in range(3)}
        done, _ = await asyncio.wait(waits)
        completed = [await one for one in asyncio.as_completed({asyncio.sleep(0, 3), asyncio.sleep(0, 4)})]
        return {task.result() for task in done} | set(completed)

    assert asyncio.run(main()) == set(range(5))


def test_event_queue_lock_semaphore_and_condition_hand_over_in_turn() -> None:
    async def main(run: Run) -> list[Any]:
        trace = run.trace
        queue: asyncio.Queue[int] = asyncio.Queue(maxsize=1)
        event, lock, semaphore, condition = asyncio.Event(), asyncio.Lock(), asyncio.Semaphore(2), asyncio.Condition()

        async def producer() -> None:
            for number in range(3):
                await queue.put(number)
            event.set()

        async def consumer() -> None:
            for _ in range(3):
                trace.append(await queue.get())
                await asyncio.sleep(1)

        async def guarded(name: str) -> None:
            async with semaphore, lock:
                await asyncio.sleep(1)
                trace.append(name)

        async def notified() -> None:
            async with condition:
                await condition.wait()
                trace.append("notified")

        async with asyncio.TaskGroup() as group:
            for coro in (producer(), consumer(), guarded("a"), guarded("b"), guarded("c"), notified()):
                group.create_task(coro)
            await event.wait()
            trace.append("event")
            async with condition:
                condition.notify_all()
        return trace

    assert Run(main).to_its_end() == [0, 1, "event", "notified", "a", 2, "b", "c"]


def test_a_shielded_step_outlives_the_cancellation_of_its_waiter() -> None:
    async def main(run: Run) -> Any:
        step = run.step("charge")
        try:
            async with asyncio.timeout(1):
                await asyncio.shield(step)
        except TimeoutError:
            run.trace.append("late")
        return await step

    run = Run(main)
    run.fire()
    run.settle("charge", "receipt")
    assert run.task.result() == "receipt"
    assert run.trace == ["late"]


def test_a_cancelled_task_cancels_its_timer_once() -> None:
    async def main(run: Run) -> None:
        sleeper = asyncio.create_task(asyncio.sleep(100))
        await asyncio.sleep(1)
        sleeper.cancel()
        sleeper.cancel()
        await asyncio.wait([sleeper])

    run = Run(main)
    run.to_its_end()
    assert run.cancelled == [2]


def test_a_timer_that_fired_is_not_cancelled_any_more_and_fires_once() -> None:
    timers = Run(lambda _: asyncio.sleep(0))
    fired: list[str] = []
    timer = timers.loop.call_later(5, fired.append, "now")
    assert isinstance(timer, DurableTimer)
    timer.fire()
    timer.fire()
    timers.loop.drain()
    timer.cancel()
    assert fired == ["now"]
    assert timers.cancelled == []


def test_an_endless_wait_has_no_timer() -> None:
    run = Run(lambda _: asyncio.sleep(float("inf")))
    assert run.started == []
    run.task.cancel()
    run.loop.drain()
    assert run.task.cancelled()


def test_a_task_that_nobody_holds_goes_on() -> None:
    async def main(run: Run) -> None:
        async def background() -> None:
            await asyncio.get_running_loop().create_future()

        _nobody = weakref.ref(asyncio.create_task(background(), name="held"))
        await asyncio.sleep(1)
        gc.collect()
        await asyncio.sleep(1)
        run.trace.extend(task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task())

    run = Run(main)
    run.to_its_end()
    assert run.trace == ["held"]
    run.loop.close()


def test_an_exception_in_a_callback_is_left_to_the_owner() -> None:
    run = Run(lambda _: asyncio.sleep(0))
    run.loop.call_soon(lambda: 1 / 0)
    run.loop.drain()
    assert [type(context["exception"]) for context in run.loop.unhandled] == [ZeroDivisionError]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_exit_in_a_callback_ends_that_callback_alone(kind: type[BaseException]) -> None:
    def exits() -> None:
        raise kind

    heard: list[str] = []
    run = Run(lambda _: asyncio.sleep(0))
    run.loop.call_soon(exits)
    run.loop.call_soon(heard.append, "the next one")
    run.loop.drain()
    assert heard == ["the next one"]


def test_a_turn_that_does_not_come_to_rest_is_ended_and_the_outer_loop_is_back() -> None:
    def again() -> None:
        run.loop.call_soon(again)

    run = Run(lambda _: asyncio.sleep(0))
    run.loop.turn_steps = 1_000
    run.loop.call_soon(again)
    with pytest.raises(TurnTooLong, match="did not come to rest within 1,000 steps"):
        run.loop.drain()
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.get_running_loop()


def test_an_async_generator_left_early_is_closed_within_the_turn() -> None:
    async def main(run: Run) -> None:
        async def numbers() -> AsyncIterator[int]:
            try:
                for number in range(10):
                    yield number
            finally:
                await asyncio.sleep(1)
                run.trace.append("closed")

        async for number in numbers():
            if number == 2:
                break
        await asyncio.sleep(5)

    run = Run(main)
    run.to_its_end()
    assert run.trace == ["closed"]
    assert run.started == [5, 1]


# Refusals


async def to_thread(run: Run) -> None:
    await asyncio.to_thread(print)


async def open_connection(run: Run) -> None:
    await asyncio.open_connection("127.0.0.1", 9)


async def start_server(run: Run) -> None:
    await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)


async def subprocess_exec(run: Run) -> None:
    await asyncio.create_subprocess_exec("true")


async def add_signal_handler(run: Run) -> None:
    asyncio.get_running_loop().add_signal_handler(15, print)


async def call_soon_threadsafe(run: Run) -> None:
    asyncio.get_running_loop().call_soon_threadsafe(print)


@pytest.mark.parametrize(
    "main", [to_thread, open_connection, start_server, subprocess_exec, add_signal_handler, call_soon_threadsafe]
)
def test_a_refusal_names_the_call_and_the_line_of_the_author(main: Callable[[Run], Awaitable[None]]) -> None:
    run = Run(main)
    with pytest.raises(
        NotDeterministic, match=rf"{main.__name__}.*\n.*test_loop\.py:\d+  .*{main.__name__}"
    ) as refusal:
        run.task.result()
    assert refusal.value.line == main.__code__.co_firstlineno + 1
    assert "Move it into a step" in str(refusal.value)


def test_every_method_of_an_event_loop_is_ours() -> None:
    theirs = vars(asyncio.AbstractEventLoop)
    inherited = [name for name in theirs if getattr(WorkflowLoop, name) is theirs[name] and not name.startswith("_")]
    assert inherited == []


# Inside another loop


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_turn_inside_a_task_of_another_loop_leaves_that_task_as_it_was(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def main(run: Run) -> str:
        async with asyncio.timeout(60):
            await run.step("read")
        task = asyncio.current_task()
        assert task is not None
        return task.get_name()

    async def host() -> tuple[str, bool]:
        outer_loop, outer_task = asyncio.get_running_loop(), asyncio.current_task()
        late = False
        run = Run(main)
        try:
            async with asyncio.timeout(0.01):
                run.settle("read")
                assert asyncio.get_running_loop() is outer_loop
                assert asyncio.current_task() is outer_task
                await outer_loop.create_future()
        except TimeoutError:
            late = True
        run.loop.close()
        assert asyncio.current_task() is outer_task
        return run.task.result(), late

    loop = new_loop()
    try:
        assert loop.run_until_complete(host()) == ("Task-1", True)
    finally:
        loop.close()


# The same in every process

STORY = """
import asyncio, random, sys
from holdfast.sdk.loop import WorkflowLoop

noise = [bytearray(random.randrange(1, 5000)) for _ in range(random.randrange(1, 3000))]
trace, timers = [], {}

class Timers:
    def start(self, timer): timers[timer.number] = timer
    def cancel(self, timer): trace.append(("cancel", timer.number)); del timers[timer.number]

async def child(name, seconds):
    noise.append(bytearray(random.randrange(1, 5000)))
    try:
        await asyncio.sleep(seconds)
        if name == "bad": raise ValueError
    except asyncio.CancelledError:
        trace.append(("cancelled", name)); raise
    trace.append(name)

async def main():
    tasks = [asyncio.create_task(child(f"w{n}", 1 + n % 3), name=f"w{n}") for n in range(70)]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    trace.append([t.get_name() for t in done] + [t.get_name() for t in pending])
    for t in asyncio.as_completed(tasks): await t
    try:
        async with asyncio.TaskGroup() as group:
            for n in range(70): group.create_task(child(f"g{n}", 5))
            group.create_task(child("bad", 1))
    except* ValueError: pass

loop = WorkflowLoop(Timers())
task = loop.create_task(main())
loop.drain()
while not task.done():
    timer = timers.pop(min(timers, key=lambda n: (timers[n].due, n)))
    loop.set_time(timer.due); timer.fire(); loop.drain()
task.result()
print(trace)
"""


def test_fresh_processes_with_another_heap_and_hash_seed_tell_the_same_story() -> None:
    def told(seed: int) -> str:
        return subprocess.run(
            [sys.executable, "-c", STORY],
            env={**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": str(SRC)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    stories = {told(seed) for seed in range(1, 6)}
    assert len(stories) == 1
    assert "('cancelled', 'g69')" in stories.pop()


# Dropping a run


@pytest.fixture
def counting_only() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_eviction_runs_finally_silently_and_frees_the_run(
    counting_only: None,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    trace: list[str] = []

    class Payload:
        pass

    payloads: list[weakref.ref[Any]] = []

    async def numbers(run: Run) -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            trace.append("generator")
            await run.step("in the generator")
            trace.append("never")

    async def child(run: Run, seconds: float) -> None:
        payload = Payload()
        payloads.append(weakref.ref(payload))
        try:
            async with asyncio.timeout(seconds):
                await run.step(f"child {seconds}")
        finally:
            trace.append("child")
            await asyncio.sleep(0)
            trace.append("never")

    async def failed() -> None:
        raise ValueError

    async def main(run: Run) -> None:
        payload = Payload()
        payloads.append(weakref.ref(payload))
        unawaited = child(run, 9)
        done_badly = asyncio.create_task(failed())
        unfinished = numbers(run)
        await anext(unfinished)
        lock = asyncio.Lock()
        try:
            async with lock, asyncio.TaskGroup() as group:
                group.create_task(child(run, 1))
                group.create_task(child(run, 2))
                await asyncio.gather(child(run, 3), asyncio.shield(run.step("shielded")))
        except asyncio.CancelledError:
            trace.append("never")
        finally:
            trace.append("main")
            await lock.acquire()
            del done_badly, unawaited

    def live_and_drop() -> list[weakref.ref[Any]]:
        run = Run(main)
        unstarted = run.loop.create_task(child(run, 4))
        assert len(run.open) == 3
        before = dict(run.steps)
        run.loop.evict()
        assert run.steps == before
        assert run.cancelled == []
        with pytest.raises(Evicted):
            run.loop.require_live()
        return [weakref.ref(run.loop), weakref.ref(run.task), weakref.ref(unstarted)]

    with warnings.catch_warnings(), caplog.at_level(logging.DEBUG):
        warnings.simplefilter("error")
        gone = [*live_and_drop(), *payloads]
        assert [ref() for ref in gone] == [None] * len(gone)
    assert "never" not in trace
    assert sorted(trace) == ["child", "child", "child", "generator", "main"]
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


def test_a_finished_run_is_freed_by_counting_references_also_when_it_failed(counting_only: None) -> None:
    async def broken(run: Run) -> None:
        task = asyncio.current_task()
        await run.step("read")
        raise ValueError(task is None)

    def live() -> weakref.ref[Any]:
        run = Run(broken)
        run.settle("read")
        failure = run.task.exception()
        assert isinstance(failure, ValueError)
        run.loop.close()
        return weakref.ref(run.loop)

    assert live()() is None


def test_closing_a_finished_run_drops_the_tasks_left_behind() -> None:
    trace: list[str] = []

    async def background(run: Run) -> None:
        try:
            await run.step("background")
        finally:
            trace.append("finally")
            await run.step("one more")
            trace.append("never")

    async def main(run: Run) -> str:
        asyncio.get_running_loop().create_task(background(run)).set_name("left behind")
        await asyncio.sleep(0)
        return "done"

    run = Run(main)
    run.loop.close()
    assert run.task.result() == "done"
    assert trace == ["finally"]
    assert run.loop.is_closed()
    with pytest.raises(RuntimeError, match="dropped"):
        run.loop.drain()


def test_a_dropped_run_makes_no_new_tasks_or_timers() -> None:
    async def main(run: Run) -> None:
        try:
            await run.step("read")
        finally:
            for attempt in (lambda: asyncio.create_task(asyncio.sleep(0)), lambda: run.loop.call_later(5, print)):
                try:
                    attempt()
                except Evicted:
                    run.trace.append("refused")

    run = Run(main)
    run.loop.evict()
    assert run.trace == ["refused", "refused"]
    assert run.started == []
