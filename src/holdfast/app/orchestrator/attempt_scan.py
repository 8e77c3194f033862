"""A scan over the open attempts of some shards, page by page, however many there are.

Laws of this file:
- A page bounds what is looked at and what is held in memory. No statement grows with a shard.
- A page is read again until what it found was heard: no attempt is passed over because the store was away.
"""

from collections.abc import Collection, Sequence
from typing import Final

from holdfast.ports.timers import AttemptRow, Timers

PAGE: Final = 128
"""Attempts looked at in one page."""
PAGES: Final = 200
"""Pages of one scan between two looks at everything else."""
FOR_EVER: Final = 2**62


class AttemptScan:
    """A scan of `shards` for attempts that are due up to `until`, as the store's time was when it began."""

    def __init__(self, store: Timers, shards: Collection[int], until: int = FOR_EVER, *, page: int = PAGE) -> None:
        self.shards = frozenset(shards)
        self.is_over = not shards
        self._store = store
        self._until = until
        self._page = page
        self._after: object = None
        self._next: object = None

    async def page(self) -> Sequence[AttemptRow]:
        """Read the present page.

        Raises:
            Unavailable: the store is away.
        """
        page = await self._store.open_attempts(self.shards, self._until, self._page, self._after)
        self._next = page.after
        return page.rows

    def turn(self) -> None:
        """Go on to the next page: what the present one found was heard."""
        self._after = self._next
        self.is_over = self._next is None
