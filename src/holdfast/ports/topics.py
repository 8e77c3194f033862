"""The names of topics: the one home of them.

`<namespace>.<class>.v1`, or `<namespace>.<class>.<name>.v1` where there is one for each name. What stands in a topic,
and how it is set up, says `topics/catalogue.toml`.
"""


def full_name(namespace: str, kind: str, name: str | None = None) -> str:
    """Name a topic: `shop.commands.v1`, `shop.tasks.cnc.v1`."""
    return ".".join((namespace, kind, *(() if name is None else (name,)), "v1"))


def is_of_tasks(topic: str) -> bool:
    """Tell whether a topic is a queue's: `<ns>.tasks.<queue>.v1`."""
    return topic.split(".")[1:2] == ["tasks"]


class Topics:
    """Names of a namespace's topics."""

    __slots__ = ("commands", "dlq", "events", "namespace", "outcomes", "results", "stream")

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.commands = full_name(namespace, "commands")
        self.results = full_name(namespace, "results")
        self.events = full_name(namespace, "events")
        self.outcomes = full_name(namespace, "outcomes")
        self.stream = full_name(namespace, "stream")
        self.dlq = full_name(namespace, "dlq")

    def tasks(self, queue: str) -> str:
        return full_name(self.namespace, "tasks", queue)
