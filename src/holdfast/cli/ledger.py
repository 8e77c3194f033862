"""The commands about the ledger's part of an author's own databases: ledger install."""

from typing import TYPE_CHECKING

import click

from holdfast.cli.frame import Subcommand, Subgroup, finish, settings_of

if TYPE_CHECKING:
    from holdfast.settings import Settings


@click.group(cls=Subgroup)
def ledger() -> None:
    """Your own databases, where transaction effects write."""


@ledger.command(name="install", cls=Subcommand)
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Only print what would be done.")
@click.pass_context
def install_table(context: click.Context, name: str, *, dry_run: bool) -> None:
    """Create the table holdfast_effects in the database NAME of your settings. Safe to repeat.

        HOLDFAST_DATABASES_SHOP=postgresql://shop@db/shop holdfast ledger install shop
        holdfast ledger install shop --dry-run

    An effect under guard "transaction" writes its row there together with what it does, in one commit.
    """
    finish(_install(settings_of(context), name, dry_run=dry_run))


async def _install(settings: "Settings", name: str, *, dry_run: bool) -> None:
    from holdfast.adapters.databases import NamedDatabases

    databases = NamedDatabases(settings.databases)
    try:
        done = await (databases.pending(name) if dry_run else databases.install(name))
    finally:
        await databases.close()
    for line in done:
        click.echo(f"would do: {line}" if dry_run else line)
    if not done:
        click.echo("nothing to do: all is installed")
