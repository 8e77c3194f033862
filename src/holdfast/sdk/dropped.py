"""What stands for the program of a run that was dropped from memory, where its code still asks for something."""

import datetime as dt
import random
from collections.abc import Coroutine
from typing import Any, Final

from holdfast.sdk.definitions import RunInfo, Step, Workflow
from holdfast.sdk.logs import Speaker
from holdfast.sdk.loop import Evicted


class Dropped:
    """Of a dropped run: so that its loop no longer refers to the program."""

    def call(self, step: Step[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Coroutine[Any, Any, Any]:
        raise Evicted

    def call_child(
        self, child: Workflow[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], *, detached: bool
    ) -> Coroutine[Any, Any, Any]:
        raise Evicted

    def wait_signal(self, name: str, kind: Any) -> Coroutine[Any, Any, Any]:
        raise Evicted

    def random(self) -> random.Random:
        raise Evicted

    def now(self) -> dt.datetime:
        raise Evicted

    def speaker(self) -> Speaker:
        raise Evicted

    def info(self) -> RunInfo:
        raise Evicted

    def encode_input(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        raise Evicted


DROPPED: Final = Dropped()
