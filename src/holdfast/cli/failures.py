"""Whose fault it is: every error that a command may end with, as one line and an exit code.

Law: an error that is not named here is a bug of ours, and says so.
"""

import click

from holdfast.cli.plain import plain

ENDED = 1
USAGE = 2
MISSING = 3
INFRASTRUCTURE = 4
BUG = 70  # EX_SOFTWARE of sysexits.h
INTERRUPTED = 130
BROKEN_PIPE = 141

_WHOSE = {
    ENDED: "the run",
    USAGE: "the command line",
    MISSING: "not found",
    INFRASTRUCTURE: "infrastructure",
    BUG: "a bug in Holdfast",
}


class CommandFailed(Exception):
    """A command that ends with `code`; `whose` says whose fault it is if the code does not."""

    def __init__(self, code: int, text: str, whose: str | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.whose = whose or _WHOSE[code]


def told(error: Exception) -> CommandFailed:
    """Say whose fault an error is."""
    if isinstance(error, CommandFailed):
        return error
    if isinstance(error, click.ClickException):
        return CommandFailed(USAGE, usage(error))
    code, whose = _known(error)
    text = str(error) or type(error).__name__
    if code == BUG:
        text = f"{type(error).__name__}: {text}; run it again with --debug and report the traceback"
    elif code == INFRASTRUCTURE and whose is None:
        text = f"{text}; is it running, and is this its address? See: holdfast doctor"
    return CommandFailed(code, text, whose)


def usage(error: click.ClickException) -> str:
    """Put click's own complaint into one line, with where to read on."""
    text = error.format_message()
    context = getattr(error, "ctx", None)
    return f"{text} Read: {context.command_path} --help" if context is not None else text


def line(failed: CommandFailed) -> str:
    """Write the line; servers' answers of several lines become one."""
    return plain(f"holdfast: {failed.whose}: {' '.join(str(failed).split())}")


def _known(error: Exception) -> tuple[int, str | None]:
    # Imported here: these modules are loaded already if one of their errors is in our hands, and --help needs none.
    from holdfast.adapters.sqlite.lock import AlreadyRunning
    from holdfast.asked import Unstorable
    from holdfast.client import EffectUnknown, ResolutionRefused, RunExists, RunPurged
    from holdfast.core.identity import InvalidRunId
    from holdfast.extras import MissingExtra
    from holdfast.ports import databases, installation, journal, log, unavailable
    from holdfast.profiles.health import AddressInUse
    from holdfast.sdk.values import UnfitValue
    from holdfast.settings import SettingsError

    table: tuple[tuple[type[Exception] | tuple[type[Exception], ...], int, str | None], ...] = (
        (SettingsError, USAGE, "your settings"),
        (MissingExtra, USAGE, "a missing package"),
        ((InvalidRunId, Unstorable, UnfitValue, RunExists, log.TooLarge, journal.BadData), USAGE, None),
        ((EffectUnknown, RunPurged), MISSING, None),
        (ResolutionRefused, ENDED, "refused"),
        ((installation.NotInstalled, log.TopicMissing), INFRASTRUCTURE, "not installed"),
        (databases.UnknownDatabase, MISSING, None),
        (installation.NewerSchema, INFRASTRUCTURE, "this version is too old"),
        ((unavailable.Unavailable, log.Unreachable), INFRASTRUCTURE, None),
        (AlreadyRunning, INFRASTRUCTURE, "in use"),
        (AddressInUse, INFRASTRUCTURE, "in use"),
    )
    for kinds, code, whose in table:
        if isinstance(error, kinds):
            return code, whose
    return BUG, None
