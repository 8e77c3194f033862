"""The embedded store's clock: that of its machine."""

import time


def now() -> int:
    """Tell the time in microseconds since the epoch."""
    return time.time_ns() // 1000
