"""What is thrown where a message can never be handled."""


class DeadLetter(Exception):
    """A message that can never be handled: the sender's fault. `reason` is one word for machines."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason
