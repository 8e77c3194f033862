"""Processes that died with work in hand: reported by who lives on their machine, known to who runs that work next.

Laws of this file:
- A death counts against a turn while that turn has not been done since, and against a step while the step is open.
- Nobody is blamed for an orderly stop, and nobody is lost: what is suspected is parked, or executed apart.
- It costs nothing while nobody has died.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from holdfast.core.identity import shard_of
from holdfast.core.replay import ProgramStuck
from holdfast.core.run import Run
from holdfast.ports.clock import Clock
from holdfast.ports.deaths import Death, Deaths
from holdfast.ports.recorder import UNRECORDED, Crash, FlightRecorder, FlightRecords
from holdfast.ports.unavailable import Unavailable

log = logging.getLogger(__name__)

TURNS: Final = 2
"""So many processes may die in a turn; it is not tried once more."""
ATTEMPTS: Final = 3
"""So many may die while they execute a step; it is executed apart from then on."""
EVERY: Final = 2.0
PROCESS_DIED: Final = "process_died"
PAGE: Final = 1_000
CHILD: Final = "/child-"
"""In the name of a child process, between its parent's and its number."""
MOST: Final = 20_000
"""Deaths that are known at once. More have never been seen; those beyond are known when these are forgotten."""

Place = tuple[str, int, str]


class DeathWatch:
    """What one process records of itself, reports of others, and knows of all.

    `somebody_died`: whether any death is known; while it is not, nothing else here needs to be asked.
    """

    def __init__(
        self,
        deaths: Deaths | None,
        records: FlightRecords,
        clock: Clock | None,
        *,
        process: str,
        shards: int,
        suspect_after: int = ATTEMPTS,
    ) -> None:
        self.recorder: FlightRecorder = UNRECORDED
        self.suspect_after = suspect_after
        self._deaths = deaths
        self._records = records
        self._clock = clock
        self._process = process
        self._shards = shards
        self._known: Mapping[Place, list[Death]] = {}
        self.somebody_died = False
        self._children = 0

    async def begin(self) -> None:
        """Record from now on; report the dead of this machine, and learn of all.

        Raises:
            Unavailable: the store is away.
        """
        try:
            self.recorder = self._records.record(self._process)
        except OSError as error:
            log.warning("no flight recorder (%s): if this process dies, nobody learns what it was doing", error)
        await self.report()
        await self.read()

    async def serve(self) -> None:
        """Stay informed."""
        while self._clock is not None:
            await self._clock.sleep(EVERY)
            try:
                await self.report()
                await self.read()
            except Unavailable as away:
                log.info("cannot report deaths of processes: %s; retrying", away)

    async def report(self) -> None:
        """Report what processes of this machine had in hand when they died."""
        if self._deaths is None:
            return
        for crash in self._records.crashed():
            await self._deaths.report([self._placed(death) for death in crash.held])
            self._records.settle(crash)
            log.warning("%s", _told(crash))

    def _placed(self, death: Death) -> Death:
        return msgspec.structs.replace(death, shard=shard_of(death.run_id, self._shards))

    async def read(self) -> None:
        """Learn of all deaths that are not forgotten."""
        if self._deaths is None:
            return
        known: dict[Place, list[Death]] = {}
        page: Sequence[Death] = ()
        for _ in range(MOST // PAGE):
            page = await self._deaths.read(PAGE, page[-1] if page else None)
            for death in page:
                known.setdefault(death.place[:3], []).append(death)
            if len(page) < PAGE:
                break
        self._know(known)

    def _know(self, known: Mapping[Place, list[Death]]) -> None:
        self._known = known
        self.somebody_died = bool(known)

    def known(self) -> list[Death]:
        """Give all deaths that are not forgotten, as far as this process knows."""
        return [death for found in self._known.values() for death in found]

    async def died_apart(self, run_id: str, incarnation: int, step_id: str, attempt: int) -> None:
        """Count a child process of this one, which executed a step alone; known here though the store be away."""
        self._children += 1
        death = self._placed(
            Death(
                run_id=run_id,
                incarnation=incarnation,
                step_id=step_id,
                process=f"{self._process}{CHILD}{self._children}",
                attempt=attempt,
            )
        )
        place = death.place[:3]
        self._know({**self._known, place: [*self._known.get(place, ()), death]})
        if self._deaths is not None:
            with suppress(Unavailable):
                await self._deaths.report([death])

    async def pardon(self, run_id: str, incarnation: int, step_id: str, *, everything: bool) -> None:
        """Let a step that a person takes up again have its chance in a child process again, or in this one."""
        found = self._known.get((run_id, incarnation, step_id), ())
        with suppress(Unavailable):
            await self.forget([death for death in found if everything or CHILD in death.process])

    async def forget(self, deaths: Sequence[Death]) -> None:
        """Count these no more."""
        if self._deaths is None or not deaths:
            return
        await self._deaths.forget(deaths)
        gone = {death.place for death in deaths}
        kept = {place: [one for one in found if one.place not in gone] for place, found in self._known.items()}
        self._know({place: found for place, found in kept.items() if found})

    def stopping(self) -> None:
        self.recorder.stopping()

    def close(self) -> None:
        self.recorder.close()
        self.recorder = UNRECORDED

    # -- what follows

    def stuck(self, run: Run, workflow: str) -> ProgramStuck | None:
        """Tell why the code of a run is not to be run: processes died in the turn that comes next, or a later one."""
        found = self._known.get((run.run_id, run.incarnation, ""), ())
        # A turn that was done since is no suspect any more: its events are in the history.
        deaths = [death for death in found if death.seq >= run.seq]
        for death in deaths:
            if death.reason:
                return ProgramStuck(death.reason, f"{death.detail}\nMend it, then: holdfast resume {run.run_id}")
        if len(deaths) < TURNS:
            return None
        return ProgramStuck(
            PROCESS_DIED,
            f"{len(deaths)} processes died while the code of workflow {workflow!r} was running: "
            f"{', '.join(death.process for death in deaths)}\n"
            "Their logs, or the kernel's, say how: os._exit, a crash in a C library, too much memory. Mend it, then: "
            f"holdfast resume {run.run_id}",
        )

    def of_step(self, run_id: str, incarnation: int, step_id: str) -> int:
        """Count the processes that died while they executed a step."""
        return len(self._known.get((run_id, incarnation, step_id), ()))

    def is_guilty(self, run_id: str, incarnation: int, step_id: str) -> bool:
        """Tell whether a child died of a step, which executed nothing else; other processes held others beside it."""
        return any(CHILD in death.process for death in self._known.get((run_id, incarnation, step_id), ()))


UNWATCHED: Final = DeathWatch(None, UNRECORDED, None, process="", shards=1)


def _told(crash: Crash) -> str:
    turns = [death.run_id for death in crash.held if death.is_turn]
    attempts = [death for death in crash.held if not death.is_turn]
    words = [f"process {crash.process} died"]
    if turns:
        words.append(f"in a turn of run {turns[0]}")
    if attempts:
        first = attempts[0]
        more = f" and {len(attempts) - 1} more" if len(attempts) > 1 else ""
        words.append(f"executing {first.step_id} of run {first.run_id}{more}")
    return words[0] + " " + ", and ".join(words[1:])
