"""The provider: whom the workflows charge, and whose book is the oracle.

Laws of this file:
- `charge` and `pay` know keys, as Stripe does: the same key is the same purchase, and gives the same answer.
- `transfer` and `give` know none: each request is a purchase. `transfer` can be asked about; `give` cannot.
- What is written in the book stays there. Nothing may stand there twice.
"""

from collections import Counter
from collections.abc import Callable

from holdfast.sdk.sending import NotSent, Refused, Unclear
from tests.simulation.loop import DEAD, Life
from tests.simulation.wire import Wire

DECLINED = "declined"
Purchase = tuple[str, str]


class Provider:
    """The book."""

    def __init__(self, violate: Callable[[str, str], None]) -> None:
        self.away = False
        self.failovers = 0
        self.book: Counter[Purchase] = Counter()
        self.wanted: dict[tuple[str, str], str] = {}
        """What each effect is about, by run and step: the auditor reads it from the histories."""
        self.under_way: dict[int, tuple[Life, str]] = {}
        self._violate = violate
        self._answers: dict[str, str] = {}
        self._calls = 0

    def bought(self, purchase: Purchase) -> str:
        self.book[purchase] += 1
        if self.book[purchase] > 1:
            self._violate("bought twice", f"{purchase[0]} {purchase[1]}")
        return receipt(*purchase)

    def charge(self, key: str, run: str, what: str) -> str:
        if key not in self._answers:
            self._answers[key] = self.bought((run, what))
        return self._answers[key]

    def pay(self, key: str, run: str, what: str) -> str:
        if what.startswith(DECLINED):
            self._answers.setdefault(key, "")
        answer = self.charge(key, run, what)
        if not answer:
            raise Refused(f"{what} is declined", stored=True)
        return answer

    def transfer(self, key: str, run: str, what: str) -> str:
        self._answers[key] = self.bought((run, what))
        return self._answers[key]

    def find(self, key: str) -> str | None:
        return self._answers.get(key)

    def give(self, key: str, run: str, what: str) -> str:
        return self.bought((run, what))

    # -- who may still send

    def begin(self, life: Life, key: str) -> int:
        self._calls += 1
        self.under_way[self._calls] = (life, key)
        return self._calls

    def end(self, call: int) -> None:
        self.under_way.pop(call, None)

    def may_come(self, key: str) -> bool:
        """Tell whether a living process is still at a request under this key."""
        return any(life.state != DEAD and key == at for life, at in self.under_way.values())


def receipt(run: str, what: str) -> str:
    return f"receipt for {run} {what}"


def said(text: str) -> Exception:
    """Put what the wire says into the words of an effect: a refused connection has sent nothing."""
    return NotSent(text) if text.startswith(("refused", "away")) else Unclear(text)


class Till:
    """One process's way to the provider."""

    def __init__(self, provider: Provider, wire: Wire) -> None:
        self._provider = provider
        self._wire = wire

    async def buy(self, how: str, key: str, run: str, what: str) -> str:
        """Send a request of the kind `how`."""
        ways = {
            "charge": self._provider.charge,
            "pay": self._provider.pay,
            "transfer": self._provider.transfer,
            "give": self._provider.give,
        }
        call = self._provider.begin(self._wire.life, key)
        try:
            return await self._wire.ask(self._provider, said, ways[how], key, run, what)
        finally:
            if self._wire.life.alive:
                self._provider.end(call)

    async def find(self, key: str) -> str | None:
        return await self._wire.ask(self._provider, said, self._provider.find, key)
