"""The release after this one, as far as a test needs it: a throw-away copy of the sources with a small change.

Each record has one field more, and one type of event is new: it is recorded before every signal that a run takes.
"""

import ast
import json
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
WIDER = {
    "core/events.py": ("Fact",),
    "core/commands.py": ("Asked", "ExecuteStep", "StepResult", "RunOutcome"),
    "core/payload.py": ("Payload",),
    "core/parent.py": ("Parent",),
    "core/retry.py": ("Failure", "RetrySchedule"),
}
NEW_EVENT = '''

class SignalNoted(Fact, frozen=True, kw_only=True):
    """What is new."""

    message_id: str


TYPES["SignalNoted"] = SignalNoted
'''
CHANGES = {
    "core/run.py": (
        (
            "        e.SignalReceived(\n",
            "        e.SignalNoted(message_id=command.message_id),\n        e.SignalReceived(\n",
        ),
        ("        case e.SignalReceived() |", "        case e.SignalNoted() | e.SignalReceived() |"),
    ),
    "core/react.py": (
        (
            "        case e.SignalRefused():",
            "        case e.SignalNoted():\n            return ()\n        case e.SignalRefused():",
        ),
    ),
}


def make(folder: Path) -> Path:
    """Copy the sources and change them; gives the folder that Python is to look into first."""
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("schemas", "topics"):
        shutil.copytree(ROOT / name, folder / name)
    source = folder / "src" / "holdfast"
    for name, kinds in WIDER.items():
        (source / name).write_text(_widened((source / name).read_text(), kinds))
    events = source / "core" / "events.py"
    events.write_text(events.read_text() + NEW_EVENT)
    for name, changes in CHANGES.items():
        text = (source / name).read_text()
        for was, becomes in changes:
            assert text.count(was) == 1, (name, was)
            text = text.replace(was, becomes)
        (source / name).write_text(text)
    for file in (folder / "schemas").glob("*.avsc"):
        schema = json.loads(file.read_text())
        schema["fields"].append({"name": "added", "type": ["null", "string"], "default": None})
        file.write_text(json.dumps(schema))
    new = {"name": "message_id", "type": "string"}, {"name": "added", "type": ["null", "string"], "default": None}
    schema = {"type": "record", "name": "SignalNoted", "namespace": "holdfast.v1", "fields": list(new)}
    (folder / "schemas" / "SignalNoted.avsc").write_text(json.dumps(schema))
    return folder / "src"


def _widened(text: str, kinds: tuple[str, ...]) -> str:
    lines = text.splitlines()
    classes = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef) and node.name in kinds]
    assert len(classes) == len(kinds)
    for node in sorted(classes, key=lambda one: -one.lineno):
        fields = [part for part in node.body if isinstance(part, ast.AnnAssign)]
        last = (fields or node.body)[-1]
        lines.insert(last.end_lineno or last.lineno, '    added: str | None = "news"')
    return "\n".join(lines) + "\n"
