"""Numbers as the pages write them: rounded by their errors, a dash where there is none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple, SupportsFloat

from bayesxs.types import Json

MISSING: Final = "–"
_PLAIN: Final = 6.0  # logs of numbers from 0.0025 to 400


class Row(NamedTuple):
    """A line of a table: its head, and its cells."""

    head: str
    cells: tuple[str, ...]


class Table(NamedTuple):
    """A table of a page: headings, that of the rows' heads first, rows, and a caption."""

    columns: tuple[str, ...]
    rows: list[Row]
    words: str = ""


def number(value: SupportsFloat | None, form: str) -> str:
    """Return a formatted number, a dash where there is none."""
    if value is None or not math.isfinite(float(value)):
        return MISSING
    return form.format(float(value))


def power(value: float) -> str:
    """Return a number below one as a power of ten."""
    if value == 0.0 or not math.isfinite(value):
        return "0" if value == 0.0 else MISSING
    mantissa, exponent = f"{value:.2e}".split("e")
    return _times_power(mantissa, int(exponent))


def exponential(log: float) -> str:
    """Return exp(log) to three digits, a power of ten where it is large or small, of any size."""
    if abs(log) < _PLAIN:
        return f"{math.exp(log):.3g}"
    exponent = math.floor(log / math.log(10.0))
    mantissa, carried = f"{math.exp(log - exponent * math.log(10.0)):.2e}".split("e")
    return _times_power(mantissa, exponent + int(carried))


def _times_power(mantissa: str, exponent: int) -> str:
    raised = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa} × 10{raised}"


def _decimals(entry: Json, scale: float) -> int:
    """Decimals that show two digits of the standard deviation."""
    sd = abs(float(entry.get("sd") or 0.0)) * scale
    return max(0, 1 - math.floor(math.log10(sd))) if sd > 0.0 and math.isfinite(sd) else 4


def scaled(entry: Json, key: str, scale: float) -> str:
    """Return a value in the shown unit, to two digits of its standard deviation."""
    value = entry.get(key)
    return MISSING if value is None else number(float(value) * scale, _form(entry, scale))


def deviation(entry: Json, key: str, scale: float) -> str:
    """Return a standard deviation in the shown unit, to two digits."""
    value = entry.get(key)
    return MISSING if value is None else number(float(value) * scale, "{:.2g}")


def _form(entry: Json, scale: float) -> str:
    return f"{{:.{_decimals(entry, scale)}f}}"


def plus_minus(entry: Json | None, scale: float) -> str:
    """Return mean and standard deviation in the shown unit."""
    if entry is None:
        return ""
    return f"{scaled(entry, 'mean', scale)} ± {scaled(entry, 'sd', scale)}"


def interval(entry: Json, key: str, scale: float) -> str:
    """Return an interval in the shown unit."""
    ends = entry.get(key)
    if ends is None:
        return MISSING
    return " to ".join(number(float(end) * scale, _form(entry, scale)) for end in ends)


def detailed_interval(entry: Json, key: str, scale: float) -> str:
    """Return an interval with the Monte Carlo errors of its ends, and its parts where it has any.

    Ends of a phase that runs through the seam of its branch say so.
    """
    text = interval(entry, key, scale)
    ends = entry.get(key)
    if ends is not None and ends[0] > ends[1]:
        text += ", through the seam"
    errors = entry.get(f"{key}_mcse")
    if errors:
        text += " (± " + ", ".join(number(float(e) * scale, "{:.1g}") for e in errors) + ")"
    parts = entry.get(f"{key}_parts")
    if parts:
        form = _form(entry, scale)
        pieces = [_piece(part, scale, form) for part in parts]
        text += f"; in parts {listed(pieces)}"
    return text


def region(entry: Json, key: str, scale: float) -> str:
    """Return an interval in the shown unit, or its parts where the density has several.

    Ends of a phase that runs through the seam of its branch say so.
    """
    form = _form(entry, scale)
    parts = entry.get(f"{key}_parts") or [entry[key]]
    return listed([_piece(part, scale, form) for part in parts])


def _piece(part: Sequence[float], scale: float, form: str) -> str:
    text = " to ".join(number(float(end) * scale, form) for end in part)
    return f"{text} (through the seam)" if part[0] > part[1] else text


def with_unit(value: str, unit: str) -> str:
    """Return a value with its unit; a power of ten takes brackets around a value with an error."""
    if not unit:
        return value
    if unit.startswith("10"):
        return f"({value}) × {unit}" if "±" in value else f"{value} × {unit}"
    return f"{value} {unit}"


def signed(value: SupportsFloat | None, form: str) -> str:
    """Return a number with its sign, a dash where there is none; `form` as in "{:.2f}"."""
    text = number(value, form)
    if text == MISSING or float(text) == 0.0:
        return text.removeprefix("-")
    return text.replace("-", "−") if text.startswith("-") else f"+{text}"


def listed(parts: Sequence[str], last: str = " and ") -> str:
    """Return parts of a sentence in a row: a and b; a, b and c."""
    return last.join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
