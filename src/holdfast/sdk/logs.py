"""What workflow code says: `workflow.log`, the standard `logging`, and `print`.

Laws of this file:
- What a turn says is said when it happens. While a run is brought back from its history, or dropped from memory, its
  code says nothing again; `workflow.log.during_replay = True` lets it.
- `workflow.log` tells which run speaks, through the logger that the workflow's own module has.
- A turn whose commit failed is computed again, and says again what it said.
"""

import builtins
import dataclasses
import logging
import sys
from asyncio import _get_running_loop
from collections.abc import MutableMapping
from functools import cache, wraps
from typing import Any, Final, Protocol

from holdfast.sdk.frames import is_engine
from holdfast.sdk.guard import Deterministic


@dataclasses.dataclass(frozen=True, slots=True)
class Speaker:
    """A run, as its log lines tell of it; `module` is where its workflow is defined."""

    run_id: str
    incarnation: int
    workflow: str
    module: str


class _Speaks(Protocol):
    def speaker(self) -> Speaker: ...


def _speaker() -> Speaker | None:
    caller: _Speaks | None = getattr(_get_running_loop(), "caller", None)
    return None if caller is None else caller.speaker()


class RunLog(logging.LoggerAdapter[logging.Logger]):
    """The log of the run whose code is running; outside of workflows a log like any other."""

    during_replay = False
    """Whether `workflow.log`, `logging` and `print` say again in a replay what was said before."""

    def __init__(self) -> None:
        """Without a logger: it is another one for each workflow."""

    @property
    def logger(self) -> logging.Logger:  # type: ignore[override]  # an attribute there
        speaker = _speaker()
        return logging.getLogger("workflow" if speaker is None else speaker.module)

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        logger, speaker = self.logger, _speaker()
        if not logger.isEnabledFor(level):
            return
        if speaker is not None:
            of_run = f"[{speaker.run_id}] "
            msg = f"{of_run.replace('%', '%%') if args else of_run}{msg}"
            told = {"run_id": speaker.run_id, "incarnation": speaker.incarnation, "workflow": speaker.workflow}
            kwargs["extra"] = {**told, **(kwargs.get("extra") or {})}
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
        logger.log(level, msg, *args, **kwargs)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return msg, kwargs


log: Final = RunLog()


def _is_said_already() -> bool:
    loop: object = _get_running_loop()
    return isinstance(loop, Deterministic) and loop.repeats() and not log.during_replay


class _Print:
    """`print`, which is silent in a replay unless it writes to a file of the author's."""

    def __init__(self, real: Any) -> None:
        self.__wrapped__ = real
        self.__doc__ = real.__doc__

    def __call__(self, *values: object, file: Any = None, **how: Any) -> None:
        if (file is None or file is sys.stdout or file is sys.stderr) and _is_said_already():
            return
        self.__wrapped__(*values, file=file, **how)


@cache
def silence_replays() -> None:
    """Let turns that happen again be silent; for what watches the process (watched.py)."""
    handle = logging.Logger.handle

    @wraps(handle)
    def handle_once(self: logging.Logger, record: logging.LogRecord) -> None:
        if is_engine(record.name) or not _is_said_already():
            handle(self, record)

    logging.Logger.handle = handle_once  # type: ignore[method-assign]  # all loggers come through here
    builtins.print = _Print(builtins.print)
