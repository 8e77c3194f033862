"""The command line, put together."""

import click

from holdfast.cli.asking import cancel, resume, signal, start, terminate
from holdfast.cli.dead_letters import dlq
from holdfast.cli.effects import effects, gone
from holdfast.cli.frame import CommandLine
from holdfast.cli.installation import doctor, install, settings
from holdfast.cli.ledger import ledger
from holdfast.cli.looking import history, list_runs, show
from holdfast.cli.purging import purge
from holdfast.cli.resolving import resolve
from holdfast.cli.serving import dev, orchestrator, run, worker
from holdfast.cli.topics import republish
from holdfast.cli.watching import watch

_SECTIONS = {
    "Serve an application": (dev, run, orchestrator, worker),
    "Ask something of runs": (start, signal, cancel, terminate, resume),
    "Look at runs": (show, list_runs, history, watch),
    "Effects": (effects, resolve, gone),
    "The installation": (install, ledger, doctor, settings, republish, dlq, purge),
}


@click.group(
    name="holdfast",
    cls=CommandLine,
    sections={title: [command.name or "" for command in commands] for title, commands in _SECTIONS.items()},
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="holdfast", message="%(prog)s %(version)s")
@click.pass_context
def main(context: click.Context) -> None:
    """Durable execution: workflows that survive any crash, effects under keys that never change.

    Try it, in two terminals:

        holdfast dev examples/first.py
        holdfast start tea --id tea-1 --input '"Ada"' --wait

    Settings: options, HOLDFAST_* variables, or holdfast.toml; holdfast settings prints them.

    Exit codes: 0 done; 1 the run did not complete, or is parked; 2 usage; 3 a named thing does not exist;
    4 infrastructure out of reach.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _commands in _SECTIONS.values():
    for _command in _commands:
        main.add_command(_command)
