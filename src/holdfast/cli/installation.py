"""The commands about an installation: install, doctor, settings."""

from typing import TYPE_CHECKING

import click

from holdfast.cli.failures import INFRASTRUCTURE, CommandFailed
from holdfast.cli.frame import Subcommand, finish, reaching, settings_of

if TYPE_CHECKING:
    from holdfast.settings import Settings


@click.command(cls=Subcommand, shows=("shards",))
@click.option("--dry-run", is_flag=True, help="Only print what would be done.")
@click.pass_context
def install(context: click.Context, *, dry_run: bool) -> None:
    """Create or migrate the schema and the topics. Safe to repeat.

        holdfast install --dry-run
        holdfast install

    Before holdfast dev there is no need to: it installs its file by itself.
    """
    finish(_install(settings_of(context), dry_run=dry_run))


async def _install(settings: "Settings", *, dry_run: bool) -> None:
    from holdfast.profiles import install

    with reaching(settings):
        done = await install(settings, dry_run=dry_run)
    for line in done:
        click.echo(f"would do: {line}" if dry_run else line)
    if not done:
        click.echo("nothing to do: all is installed")


@click.command(cls=Subcommand)
@click.pass_context
def doctor(context: click.Context) -> None:
    """Check store, log, keys, topics and clocks; say what to do.

        holdfast doctor

    Exit code 4 if something that is needed is out of reach or not installed.
    """
    from holdfast.cli.health import examine

    findings = finish(examine(settings_of(context)))
    for finding in findings:
        click.echo(f"{finding.verdict:<5} {finding.part:<8} {finding.text}")
    bad = [finding.part for finding in findings if finding.verdict == "bad"]
    if bad:
        raise CommandFailed(INFRASTRUCTURE, f"{', '.join(bad)}: do what the lines above say")


@click.command(cls=Subcommand, shows=("shards", "instance", "schema-registry", "health", "turn-limit"))
@click.pass_context
def settings(context: click.Context) -> None:
    """Print each setting and where it came from, secrets masked.

        holdfast settings
        HOLDFAST_STORE=postgresql://… holdfast settings

    An option counts before the environment (HOLDFAST_STORE), that before holdfast.toml ([holdfast] store = …).
    """
    from holdfast.settings import SettingsError

    read = settings_of(context)
    rows = read.printed()
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for key, value, origin in rows:
        click.echo(f"{key:<{widths[0]}}  {value or '-':<{widths[1]}}  {origin}")
    try:
        _ = read.profile
    except SettingsError as error:
        click.echo(f"holdfast: your settings: {error}", err=True)
