"""A server is out of reach, or could not do what was asked: every port of the store says so in these words."""


class Unavailable(Exception):
    """The server is out of reach or was cut off in mid-word; try again. What was asked may or may not have happened."""


class ServerFault(Unavailable):
    """The server is there and could not do it: out of time, memory or disk, or by an error of its own.

    SQLSTATE classes 53, 57, 58 and XX. What meets it again and again, while others are served, is itself the reason.
    """
