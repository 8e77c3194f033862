"""What `holdfast doctor` looks at.

Laws of this file:
- Each part is looked at though another is out of reach; nothing is created or changed.
- Every finding that is not good says what to do.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from holdfast.core.effects import Effect
    from holdfast.ports.deaths import Death
    from holdfast.ports.journal import RunRow
    from holdfast.profiles import Profile
    from holdfast.settings import Settings

SKEW_LIMIT = 1.0
PATIENCE = 5.0
PAGE = 1_000
TOLD = 20
"""Lines about deaths; a machine that failed may have left hundreds."""
MICROS = 1_000_000


class Finding(NamedTuple):
    """One line of the doctor's."""

    verdict: Literal["ok", "warn", "bad"]
    part: str
    text: str


async def examine(settings: "Settings") -> list[Finding]:
    """Look at every part of the installation."""
    from holdfast.profiles import assemble

    _ = settings.profile
    profile = assemble(settings)
    findings = [Finding("ok", "settings", f"{settings.profile} profile, namespace {settings.namespace}")]
    await _look_at_installation(profile, settings, findings)
    findings.extend([await _look_at_database(profile, name) for name in settings.databases])
    await profile.databases.close()
    return findings


async def _look_at_installation(profile: "Profile", settings: "Settings", findings: list[Finding]) -> None:
    from holdfast.settings import masked

    async with _opened(profile.store.open(), profile.store.close) as why:
        shards = None if why is None else settings.shards
        if why is None:
            shards = await _look_at_store(profile, masked("store", settings.store), findings)
        else:
            findings.append(Finding("bad", "store", f"{masked('store', settings.store)}: {why}"))
        if profile.embedded and why is not None:
            return
        async with _opened(profile.log.open(), profile.log.close) as away:
            if away is None:
                await _look_at_topics(profile, settings, shards, findings)
            else:
                findings.append(Finding("bad", "log", f"{masked('log', settings.log)}: {away}"))
    if profile.embedded and settings.keys != "memory":
        text = f"HOLDFAST_KEYS ({settings.origin('keys')}) is not used: on one file, keys are in memory; leave it out"
        findings.append(Finding("warn", "keys", text))
    else:
        await _look_at_keys(profile, masked("keys", settings.keys), findings)


async def _look_at_store(profile: "Profile", where: str, findings: list[Finding]) -> int:
    meta = await profile.store.meta()
    findings.append(Finding("ok", "store", f"{where}: schema {meta['schema']}, {meta['shards']} shards"))
    before = time.time()
    stored = await profile.store.now() / MICROS
    skew = stored - (before + time.time()) / 2
    if abs(skew) > SKEW_LIMIT:
        text = f"this machine is {abs(skew):.1f} s {'behind' if skew > 0 else 'ahead of'} the store: synchronise (NTP)"
        findings.append(Finding("warn", "clock", text))
    else:
        findings.append(Finding("ok", "clock", f"{abs(skew) * 1000:.0f} ms from the store's"))
    await _look_at_effects(profile, findings)
    await _look_at_exhausted(profile, findings)
    await _look_at_deaths(profile, findings)
    await _look_at_waiting(profile, findings)
    return int(meta["shards"])


async def _look_at_effects(profile: "Profile", findings: list[Finding]) -> None:
    """Count what waits for a person: parked effects, and proofs that contradict a verdict."""
    from holdfast.core.effects import PARKED

    parked = await _count(lambda after: profile.ledger.effects(states=[PARKED], limit=PAGE, after=after))
    conflicts = await _count(lambda after: profile.ledger.conflicts(limit=PAGE, after=after))
    if parked:
        text = f"{parked} parked, each waits for a person: holdfast effects --state PARKED, then holdfast resolve"
        findings.append(Finding("warn", "effects", text))
    if conflicts:
        text = f"{conflicts} happened after they were closed as failed or cancelled: holdfast effects --conflicts"
        findings.append(Finding("warn", "effects", text))
    if not parked and not conflicts:
        findings.append(Finding("ok", "effects", "none is parked, none contradicts a verdict"))


async def _look_at_exhausted(profile: "Profile", findings: list[Finding]) -> None:
    """Name the runs that wait for a person because attempts ran out, of a step or of what undoes."""
    from holdfast.core.settling import ATTEMPTS_EXHAUSTED, COMPENSATION_FAILED

    words = [
        f"run {row.run_id} is parked ({row.parked}): holdfast show {row.run_id}, then holdfast resume {row.run_id}"
        async for row in _parked(profile)
        if row.parked in {ATTEMPTS_EXHAUSTED, COMPENSATION_FAILED}
    ]
    findings += [Finding("warn", "attempts", text) for text in words[:TOLD]]
    if len(words) > TOLD:
        findings.append(Finding("warn", "attempts", f"and {len(words) - TOLD} more: holdfast list --status PARKED"))
    if not words:
        findings.append(Finding("ok", "attempts", "no run waits for a person because attempts ran out"))


async def _look_at_deaths(profile: "Profile", findings: list[Finding]) -> None:
    """Name the runs and steps of which processes died: those that stand, and those that are executed apart."""
    from holdfast.app.deaths import ATTEMPTS, PROCESS_DIED
    from holdfast.core.run import WORKER_DIED

    parked = [row async for row in _parked(profile) if row.parked in {PROCESS_DIED, WORKER_DIED}]
    words = [
        f"run {row.run_id} is parked ({row.parked}): holdfast show {row.run_id}, mend it, holdfast resume {row.run_id}"
        for row in parked
    ]
    stands = {row.run_id for row in parked}
    died: Counter[tuple[str, str]] = Counter()
    last: Death | None = None
    while page := await profile.deaths.read(PAGE, last):
        died.update((death.run_id, death.step_id) for death in page)
        last = page[-1]
    words += [
        f"{step_id or 'a turn'} of run {run_id}: {number} processes died of it"
        + ("; it is executed in child processes" if step_id and number >= ATTEMPTS else "")
        + f": holdfast show {run_id}"
        for (run_id, step_id), number in died.items()
        if run_id not in stands
    ]
    findings += [Finding("warn", "deaths", text) for text in words[:TOLD]]
    if len(words) > TOLD:
        findings.append(Finding("warn", "deaths", f"and {len(words) - TOLD} more: holdfast list --status PARKED"))
    if not words:
        findings.append(Finding("ok", "deaths", "no process is known to have died of a run or a step"))


async def _look_at_waiting(profile: "Profile", findings: list[Finding]) -> None:
    """Name the runs that wait for a process of a newer release."""
    waiting = await profile.deferred.waiting(PAGE)
    findings += [
        Finding(
            "warn",
            "release",
            f"run {one.run_id or '(of an unreadable id)'}, shard {one.shard}, waits for a newer release"
            + (f", at least {one.release}" if one.release else "")
            + f": {one.inputs} inputs are kept: upgrade the orchestrators",
        )
        for one in waiting[:TOLD]
    ]
    if len(waiting) > TOLD:
        more = f"{len(waiting) - TOLD}{' or more' if len(waiting) == PAGE else ''}"
        findings.append(Finding("warn", "release", f"and {more} runs more wait for a newer release"))
    if not waiting:
        findings.append(Finding("ok", "release", "no run waits for a newer release"))


async def _parked(profile: "Profile") -> AsyncIterator["RunRow"]:
    after = None
    while page := await profile.store.runs(status="PARKED", limit=PAGE, after=after):
        for row in page:
            yield row
        after = page[-1].run_id


async def _count(page_after: Callable[[str | None], Awaitable[Sequence["Effect"]]]) -> int:
    number, after = 0, None
    while page := await page_after(after):
        number, after = number + len(page), page[-1].effect_id
    return number


async def _look_at_topics(
    profile: "Profile", settings: "Settings", shards: int | None, findings: list[Finding]
) -> None:
    from holdfast.profiles.profile import topics_of

    findings.append(Finding("ok", "log", f"{settings.log} answers"))
    topics = topics_of(settings, settings.shards if shards is None else shards)
    missing = await profile.log.missing(topics)
    if missing:
        text = f"{', '.join(missing)} missing: holdfast install (records of a producer wait until then)"
        findings.append(Finding("bad", "topics", text))
        return
    try:
        await profile.log.install(topics)  # none is missing, so nothing is created: it compares the partitions
    except ValueError as error:
        findings.append(Finding("bad", "topics", f"{error}; a namespace of its own needs HOLDFAST_NAMESPACE"))
    else:
        findings.append(Finding("ok", "topics", f"{len(topics)} topics, partitions as installed"))


async def _look_at_keys(profile: "Profile", where: str, findings: list[Finding]) -> None:
    async with _opened(profile.keys.open("doctor"), profile.keys.close) as why:
        if why is None and await profile.keys.ping():
            findings.append(Finding("ok", "keys", f"{where} answers"))
        else:
            text = f"{where} does not answer: all goes on without, slower; start Redis or correct HOLDFAST_KEYS"
            findings.append(Finding("warn", "keys", text))


async def _look_at_database(profile: "Profile", name: str) -> Finding:
    """Look at a database of `transaction` effects."""
    from holdfast.ports.databases import UnknownDatabase
    from holdfast.ports.unavailable import Unavailable

    try:
        async with asyncio.timeout(PATIENCE):
            pending = await profile.databases.pending(name)
    except UnknownDatabase as error:
        return Finding("bad", "database", str(error).removeprefix("database "))
    except Unavailable as error:
        text = f"{' '.join(str(error).split())}; is it running, and is this its address?"
        return Finding("bad", "database", text.removeprefix("database "))
    except TimeoutError:
        return Finding("bad", "database", f"{name}: no answer in {PATIENCE:.0f} s: is this its address?")
    if pending:
        return Finding("bad", "database", f"{pending[0]} is missing: holdfast ledger install {name}")
    return Finding("ok", "database", f"{name} answers, and has the ledger's table")


@asynccontextmanager
async def _opened(opening: Awaitable[None], close: Callable[[], Awaitable[None]]) -> AsyncIterator[str | None]:
    """Open a part for as long as the block runs; gives why it cannot be, if so."""
    from holdfast.ports.installation import NewerSchema, NotInstalled
    from holdfast.ports.log import TopicMissing, Unreachable
    from holdfast.ports.unavailable import Unavailable

    why: str | None = None
    try:
        async with asyncio.timeout(PATIENCE):
            await opening
    except (NotInstalled, NewerSchema, TopicMissing) as error:
        why = str(error)
    except (Unavailable, Unreachable) as error:
        why = f"{' '.join(str(error).split())}; is it running, and is this its address?"
    except TimeoutError:
        why = f"no answer in {PATIENCE:.0f} s: is it running, and is this its address?"
    try:
        yield why
    finally:
        await close()
