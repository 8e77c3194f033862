"""The numbers of a process at `/metrics`, in the text format that Prometheus scrapes.

Source: Prometheus exposition formats, text-based format 0.0.4. Names end in `_total` where they only grow.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metric(msgspec.Struct, frozen=True):
    """One family: its name, what it means, and its values by label, or one value without a label."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    value: float | Mapping[str, float]
    label: str = ""


def exposition(metrics: Iterable[Metric]) -> str:
    """Write metrics as text, one line a value."""
    lines: list[str] = []
    for metric in metrics:
        name = f"holdfast_{metric.name}"
        lines += [f"# HELP {name} {_escaped(metric.help)}", f"# TYPE {name} {metric.kind}"]
        if isinstance(metric.value, Mapping):
            labels = ((f'{{{metric.label}="{_escaped(of, quote=True)}"}}', value) for of, value in metric.value.items())
            lines += [f"{name}{label} {value:.17g}" for label, value in sorted(labels)]
        else:
            lines.append(f"{name} {metric.value:.17g}")
    return "\n".join(lines) + "\n"


def _escaped(text: str, *, quote: bool = False) -> str:
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    return text.replace('"', r"\"") if quote else text
