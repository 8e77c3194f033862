"""What is known of a request that was to be sent: the four verdicts, as an effect's function raises them.

Laws of this file:
- What is not one of these is unclear: a verdict is a claim about the world, never a guess.
- A success has no class: it is the function's result.
"""


class Refused(Exception):
    """The provider's definite no: the effect has not happened and will not. It settles the effect as failed.

    `stored`: the provider keeps this answer under the key, so that it holds for an earlier request under the same key
    as well, even one that is still on its way.
    """

    stored = False  # for a subclass of an author's that does not call this __init__

    def __init__(self, text: str = "", *, stored: bool = False) -> None:
        super().__init__(text)
        self.stored = stored


class NotSent(Exception):
    """Definitely not sent, or turned away unread: the effect may be tried again.

    No connection, no handshake, no first byte; or the provider says that it has not looked at the request (a rate
    limit before its key check, missing credentials). `not_before`: seconds until it makes sense to try again.
    """

    not_before: float | None = None  # as above

    def __init__(self, text: str = "", *, not_before: float | None = None) -> None:
        super().__init__(text)
        self.not_before = not_before


class Unclear(Exception):
    """Whether it happened is not known.

    Any exception but `Refused` and `NotSent` says the same; this one can say more. `repeats`: the provider stores
    this very answer under the key, so that sending again tells nothing. `not_before`: seconds until it makes sense.
    """

    repeats = False  # as above
    not_before: float | None = None

    def __init__(self, text: str = "", *, repeats: bool = False, not_before: float | None = None) -> None:
        super().__init__(text)
        self.repeats = repeats
        self.not_before = not_before


Verdict = Refused | NotSent | Unclear | None
"""None: a success, as the answer shows."""
