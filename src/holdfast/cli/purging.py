"""The command that forgets: purge.

Law: a run goes by its owner's commit alone. What is asked here first spares the way of a command that would be refused.
"""

from typing import TYPE_CHECKING

import click

from holdfast.cli.asking import found, no_wait
from holdfast.cli.failures import ENDED, INFRASTRUCTURE, CommandFailed
from holdfast.cli.frame import Subcommand, connected, finish, settings_of

if TYPE_CHECKING:
    from holdfast.client import Client
    from holdfast.settings import Settings

HEARD = 10.0
"""Seconds to look for what becomes of a purge."""


@click.command(cls=Subcommand)
@click.argument("run")
@no_wait
@click.pass_context
def purge(context: click.Context, run: str, *, no_wait: bool) -> None:
    """Forget RUN, which has ended: its history, its effects and its result. A tombstone stays.

    holdfast purge order-1042

    Its id is not new again: the same start does nothing, another one is refused. A run is kept while it is open,
    while an effect of it has no verdict, while its parent has not heard its end, and until all of it is published.
    """
    finish(_purge(settings_of(context), run, no_wait=no_wait))


async def _purge(settings: "Settings", run: str, *, no_wait: bool) -> None:
    from holdfast.app.purge_checks import PurgeChecks
    from holdfast.core.commands import PurgeRun

    async with connected(settings) as client:
        profile = client.profile
        run_id = client.run(run).run_id
        if await _is_gone(client, run_id):
            click.echo(f"run {run_id} was purged before; nothing to purge")
            return
        stored = await found(client, run, no_wait=no_wait)
        if stored.row.ended_at is None:
            raise CommandFailed(ENDED, f"run {run_id} is {stored.row.status}: only a run that has ended can be purged")
        kept = await PurgeChecks(profile.store, profile.codec, profile.schemas).of([run_id])
        if run_id in kept:
            raise CommandFailed(ENDED, f"run {run_id} is not purged: {kept[run_id]}")
        await client.run_client.send(run_id, PurgeRun())
        await _until_gone(client, run_id)
        click.echo(f"purged {run_id}")


async def _until_gone(client: "Client", run_id: str) -> None:
    clock, store = client.profile.clock, client.profile.store
    until = clock.monotonic() + HEARD
    mark = 0
    while not await _is_gone(client, run_id):
        if clock.monotonic() >= until:
            raise CommandFailed(
                INFRASTRUCTURE,
                f"run {run_id} is asked to go, and is still there: no orchestrator has taken the command yet, or it "
                "was refused (holdfast dlq list). Nothing is lost; ask again, or see holdfast doctor",
            )
        mark = await store.changed(mark)


async def _is_gone(client: "Client", run_id: str) -> bool:
    return bool(await client.profile.store.tombstones([run_id]))
