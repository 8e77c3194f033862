"""The frame of all commands: settings as options, one-line errors, exit codes, a clean Ctrl-C.

Law: an option means the same before and after the name of the command; the later one counts.
"""

import asyncio
import inspect
import io
import os
import sys
import textwrap
import traceback
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from holdfast.cli.failures import (
    BROKEN_PIPE,
    INFRASTRUCTURE,
    INTERRUPTED,
    USAGE,
    CommandFailed,
    line,
    told,
)

if TYPE_CHECKING:
    from holdfast.client import Client
    from holdfast.settings import Settings

Value = TypeVar("Value")

PATIENCE = 8.0  # seconds for connecting; a person waits
_GIVEN = "holdfast.options"

_SETTINGS: tuple[tuple[str, str, str], ...] = (
    ("store", "URL", "sqlite:///path or postgresql://…"),
    ("log", "URL", "embedded or kafka://host:port[,host:port]."),
    ("keys", "URL", "memory or redis://…"),
    ("namespace", "NAME", "Prefix of topics, and name of the PostgreSQL schema."),
    ("shards", "N", "Read by install alone, then taken from the store."),
    ("instance", "NAME", "A stable name of this process."),
    ("schema-registry", "URL", "Write records in the Confluent wire format."),
    ("health", "HOST:PORT", "Answer /readyz and /livez there."),
    ("turn-limit", "SECONDS", "How long workflow code may compute without awaiting."),
)
_COMMON = frozenset({"store", "log", "keys", "namespace"})


def _remember(context: click.Context, parameter: click.Parameter, value: object) -> None:
    if value is not None and value is not False:
        context.meta.setdefault(_GIVEN, {})[parameter.name] = value


def setting_options(shown: frozenset[str]) -> list[click.Parameter]:
    """Make the options that every command takes; only those `shown` stand in its help."""
    options: list[click.Parameter] = [
        click.Option([f"--{name}"], metavar=metavar, help=about, callback=_remember, expose_value=False)
        for name, metavar, about in _SETTINGS
    ]
    debug = click.Option(
        ["--debug"], is_flag=True, help="Show tracebacks and debug messages.", callback=_remember, expose_value=False
    )
    options.append(debug)
    for option in options:
        if isinstance(option, click.Option):
            option.hidden = (option.name or "") not in shown
    return options


def with_examples(text: str | None) -> str:
    """Mark the paragraphs that are examples, so that click leaves them as they are written."""
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(_example(one) if one.startswith((" ", "holdfast ")) else one for one in paragraphs)


def _example(paragraph: str) -> str:
    # \b is click's word for "as it is written". An indentation that all lines share is lost on the way here.
    return "\b\n" + textwrap.indent(textwrap.dedent(paragraph), "    ")


class Subcommand(click.Command):
    """A command that takes the settings as options too; `shows` are those that its help names."""

    def __init__(self, *args: Any, shows: Sequence[str] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.help = with_examples(self.help)
        self.params.extend(setting_options(frozenset(shows)))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_epilog(ctx, formatter)
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text("Settings may stand here too: --store, --log, --keys, --namespace, --debug.")


class Subgroup(click.Group):
    """A group of commands below a word: `holdfast dlq list`."""

    command_class = Subcommand

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(setting_options(frozenset()))


class CommandLine(click.Group):
    """All commands, in `sections`, and the one place where errors become lines and codes."""

    command_class = Subcommand
    group_class = Subgroup

    def __init__(self, *args: Any, sections: Mapping[str, Sequence[str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.help = with_examples(self.help)
        self.sections = sections
        self.params.extend(setting_options(_COMMON | {"debug"}))

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for names in self.sections.values() for name in names]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, names in self.sections.items():
            with formatter.section(title):
                limit = formatter.width - 6 - max(map(len, names))
                formatter.write_dl([(name, self.commands[name].get_short_help_str(limit)) for name in names])

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,  # noqa: FBT001, FBT002 - click's own signature
        **extra: Any,
    ) -> Any:
        """Run one command and exit with its code."""
        arguments = sys.argv[1:] if args is None else list(args)
        sys.exit(self._run(arguments, prog_name or "holdfast", {"complete_var": complete_var, **extra}))

    def invoke(self, ctx: click.Context) -> Any:
        # Caught before click does, which says a word to each.
        try:
            done = super().invoke(ctx)
            sys.stdout.flush()
            return done
        except KeyboardInterrupt:
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(BROKEN_PIPE)

    def _run(self, arguments: list[str], prog_name: str, extra: dict[str, Any]) -> int:
        debug = "--debug" in arguments
        if isinstance(sys.stdout, io.TextIOWrapper):  # an old terminal has not every letter
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            code = super().main(arguments, prog_name, standalone_mode=False, **extra)
        except (KeyboardInterrupt, click.Abort):
            return INTERRUPTED
        except Exception as error:  # noqa: BLE001 - the edge: whatever it is becomes one line
            if debug:
                traceback.print_exception(error)
            failed = told(error)
            click.echo(line(failed), err=True)
            return failed.code
        return code if isinstance(code, int) else 0


def settings_of(context: click.Context) -> "Settings":
    """Read the settings, with the options of this command line."""
    from holdfast.settings import load

    given = dict(context.meta.get(_GIVEN, {}))
    if given.pop("debug", False):
        import logging

        logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    return load(given)


def finish(work: Coroutine[Any, Any, Value]) -> Value:
    """Run a client's work to its end."""
    return asyncio.run(work)


@asynccontextmanager
async def connected(settings: "Settings") -> AsyncIterator["Client"]:
    """Open a client for as long as the block runs, or say within seconds what is out of reach."""
    from contextlib import AsyncExitStack

    from holdfast.client import Client

    async with AsyncExitStack() as stack:
        with reaching(settings):
            async with asyncio.timeout(PATIENCE):
                client = await stack.enter_async_context(Client(settings))
        yield client


@contextmanager
def reaching(settings: "Settings") -> Iterator[None]:
    """Tell in words of the settings what goes wrong while an installation is opened."""
    from holdfast.settings import masked

    _ = settings.profile  # raises when store and log do not go together
    where = f"{masked('store', settings.store)} and {masked('log', settings.log)}"
    try:
        yield
    except TimeoutError as error:
        raise CommandFailed(
            INFRASTRUCTURE, f"{where} did not answer in {PATIENCE:.0f} s; see which one with: holdfast doctor"
        ) from error
    except ValueError as error:
        raise CommandFailed(USAGE, f"{where}: {error}", "your settings") from error
