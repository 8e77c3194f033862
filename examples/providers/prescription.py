"""Reading a prescription for glasses as opticians write it: text in, numbers or a question out.

Laws of this file:
- Nothing is guessed. What is missing, contradictory or implausible becomes a question for a person.
- A reading that is readable has both eyes, in minus-cylinder form; with a cylinder there is an axis of 1 to 180.
- Pure: no clock, no I/O, the same note gives the same reading.
"""

import msgspec

from examples.providers.spelling import (
    ADD,
    EYE,
    LENS,
    LENS_AXIS_FIRST,
    LENS_AXIS_OUTSIDE,
    PD,
    PRISM,
    SAME,
    STRAY,
    normalised,
)

STRONGEST_SPHERE = 30.0
STRONGEST_CYLINDER = 12.0
STRONGEST_ADD = 4.0
LARGEST_AXIS = 180
NARROWEST_PD, WIDEST_PD = 40.0, 85.0
WIDEST_HALF_PD = 42.0
EIGHTH = 0.125
ROUNDING = 0.006  # eighths are written with two digits: 0.12, 0.37, 0.62, 0.87
HUNDREDTHS_FROM = 3  # digits


class Prism(msgspec.Struct, frozen=True):
    """A prism and where its base lies, as written."""

    dioptres: float
    base: str


class Eye(msgspec.Struct, frozen=True):
    """The lens for one eye; without astigmatism cylinder and axis are 0."""

    sphere: float
    cylinder: float = 0.0
    axis: int = 0
    prism: Prism | None = None


class Reading(msgspec.Struct, frozen=True):
    """What a note says, or the question that a person has to answer first."""

    right: Eye | None = None
    left: Eye | None = None
    add: float | None = None
    pd: float | None = None
    pd_right: float | None = None
    pd_left: float | None = None
    question: str | None = None

    @property
    def readable(self) -> bool:
        """Tell whether lenses can be ground from this."""
        return self.question is None


class Unclear(Exception):
    """The note leaves something open; the text is the question."""


def read_note(note: str) -> Reading:
    """Read `note`."""
    rest = normalised(note)
    try:
        (pd, pd_right, pd_left), rest = _pd(rest)
        add, rest = _add(rest)
        right, left = _eyes(rest)
    except Unclear as unclear:
        return Reading(question=str(unclear))
    return Reading(right=right, left=left, add=add, pd=pd, pd_right=pd_right, pd_left=pd_left)


def _pd(text: str) -> tuple[tuple[float | None, float | None, float | None], str]:
    found = PD.search(text)
    if found is None:
        return (None, None, None), text
    first, second = float(found["first"]), float(found["second"] or 0)
    halves = 0 < second <= WIDEST_HALF_PD and first <= WIDEST_HALF_PD
    total = first + second if halves else first  # two large numbers are for far and near: far counts
    if not NARROWEST_PD <= total <= WIDEST_PD:
        message = f"The pupillary distance reads {total:g} mm, which is implausible. What is it?"
        raise Unclear(message)
    rest = text[: found.start()] + " \n " + text[found.end() :]
    return (total, first if halves else None, second if halves else None), rest


def _add(text: str) -> tuple[float | None, str]:
    values = {_dioptres(found["value"]) for found in ADD.finditer(text)}
    rest = ADD.sub(" ", text)
    if len(values) > 1:
        message = f"The addition is given as {_either(values)}. Which is right?"
        raise Unclear(message)
    value = next(iter(values), None)
    if value is not None and not 0 < value <= STRONGEST_ADD:
        message = f"The addition reads {value:g}, which is implausible. What is it?"
        raise Unclear(message)
    return value, rest


def _eyes(text: str) -> tuple[Eye, Eye]:
    read: dict[str, Eye] = {}
    marks = list(EYE.finditer(text))
    for number, mark in enumerate(marks, start=1):
        end = marks[number].start() if number < len(marks) else len(text)
        segment = text[mark.end() : end]
        for side in ("right", "left") if mark["both"] else ("right",) if mark["right"] else ("left",):
            eye = _same_as_other(side, read) if SAME.match(segment) else _eye(side, segment)
            if read.setdefault(side, eye) != eye:
                message = f"The {side} eye is given twice with different values. Which of them counts?"
                raise Unclear(message)
    missing = [side for side in ("right", "left") if side not in read]
    if len(missing) > 1:
        message = "No values for either eye can be found in the note. What is the prescription?"
        raise Unclear(message)
    if missing:
        message = f"The {missing[0]} eye is missing. What are its values?"
        raise Unclear(message)
    return read["right"], read["left"]


def _same_as_other(side: str, read: dict[str, Eye]) -> Eye:
    other = read.get("left" if side == "right" else "right")
    if other is None:
        message = f"The {side} eye is said to equal the other one, which is not given before it. What are its values?"
        raise Unclear(message)
    return other


def _eye(side: str, segment: str) -> Eye:
    prism, segment = _prism(segment)
    found = LENS_AXIS_FIRST.match(segment) or LENS_AXIS_OUTSIDE.match(segment) or LENS.match(segment)
    if found is None:
        message = f"The values of the {side} eye cannot be read. What are they?"
        raise Unclear(message)
    sphere = _signed(f"sphere of the {side} eye", found["sphere"], STRONGEST_SPHERE)
    cylinder, axis = 0.0, 0
    if found["cylinder"] is None and STRAY.match(segment, found.end()):
        message = f"The cylinder of the {side} eye cannot be read. What are its cylinder and axis?"
        raise Unclear(message)
    if found["cylinder"] is not None:
        cylinder = _signed(f"cylinder of the {side} eye", found["cylinder"], STRONGEST_CYLINDER)
    if cylinder:
        axis = _axis(side, cylinder, found["axis"])
    if cylinder > 0:
        sphere, cylinder, axis = sphere + cylinder, -cylinder, (axis + 90 - 1) % 180 + 1
    return Eye(sphere=sphere, cylinder=cylinder, axis=axis, prism=prism)


def _prism(segment: str) -> tuple[Prism | None, str]:
    found = PRISM.search(segment)
    if found is None:
        return None, segment
    value = found["before"] or found["after"]
    base = (found["base"] or "").strip()
    if not base:
        message = f"A prism of {value} is given without its base. Where does the base lie?"
        raise Unclear(message)
    return Prism(float(value), base), segment[: found.start()] + " " + segment[found.end() :]


def _axis(side: str, cylinder: float, written: str | None) -> int:
    if written is None:
        message = f"The {side} eye has a cylinder of {cylinder:+.2f} but no axis. What is the axis?"
        raise Unclear(message)
    axis = int(written)
    if axis > LARGEST_AXIS:
        message = f"The axis of the {side} eye reads {axis}, but an axis ends at {LARGEST_AXIS}. What is it?"
        raise Unclear(message)
    return axis or LARGEST_AXIS  # 0 and 180 are the same line; it is written 180


def _signed(what: str, written: str, strongest: float) -> float:
    value = _dioptres(written)
    if value and written[0] not in "+-":
        message = f"The {what} reads {written} without a sign. Is it plus or minus?"
        raise Unclear(message)
    if abs(value) > strongest:
        message = f"The {what} reads {value:+.2f}, which is implausible. What is it?"
        raise Unclear(message)
    nearest = round(value / EIGHTH) * EIGHTH
    if abs(nearest - value) > ROUNDING:
        message = f"The {what} reads {value:+.2f}, but lenses come in steps of 0.25. What is it?"
        raise Unclear(message)
    return value


def _dioptres(written: str) -> float:
    """Read a number; `-200` without a point is the shorthand for -2.00."""
    value = float(written)
    in_hundredths = "." not in written and len(written.lstrip("+-")) >= HUNDREDTHS_FROM
    return value / 100 if in_hundredths else value


def _either(values: set[float]) -> str:
    return " and as ".join(f"{value:+.2f}" for value in sorted(values))
