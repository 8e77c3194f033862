"""What makes a coroutine function a golden story."""

import importlib
import pkgutil
from collections.abc import Awaitable, Callable

from tests.golden import stories
from tests.integration.running import Process

Story = Callable[[Process], Awaitable[None]]

_told: dict[str, Story] = {}


def golden(story: Story) -> Story:
    """Make a story of a function, under its name: it starts runs and does to them what is to be recorded.

    Its recording ends when all its runs have ended, or are parked.
    """
    name = getattr(story, "__name__", "")
    if name in _told:
        raise ValueError(f"two golden stories are named {name}")
    _told[name] = story
    return story


def told() -> dict[str, Story]:
    """Find all stories, by name."""
    for module in pkgutil.iter_modules(stories.__path__):
        importlib.import_module(f"{stories.__name__}.{module.name}")
    return dict(sorted(_told.items()))
