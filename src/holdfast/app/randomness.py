"""Chance, from one place: the jitter of waits, the ids of messages.

Law of this file: chance belongs to the running loop, as time does. A loop that brings a generator of its own (`chance`)
makes all of it repeatable; everybody else draws from the system.
"""

import asyncio
import random
import uuid

_SYSTEM = random.SystemRandom()


def generator() -> random.Random:
    """Give the generator of the running loop."""
    own = getattr(asyncio.get_running_loop(), "chance", None)
    return own if isinstance(own, random.Random) else _SYSTEM


def new_id() -> str:
    """Draw an id that nobody else has: 32 hexadecimal digits."""
    return uuid.UUID(int=generator().getrandbits(128), version=4).hex
