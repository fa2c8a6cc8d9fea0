"""Numbers as the pages write them: rounded by their errors, a dash where there is none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple, SupportsFloat

from bayesxs.types import Json

MISSING: Final = "–"
_PLAIN: Final = 6.0  # logs of numbers from 0.0025 to 400
# Of probabilities: below which they are powers of ten, the least error of these that shows, and
# most decimals of others
_SMALL: Final = 1e-3
_LEAST: Final = 0.005
_DIGITS: Final = 6


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


def _decimals(error: float) -> int:
    """Decimals that show two digits of an error."""
    if not error > 0.0 or not math.isfinite(error):
        return 4
    return max(0, 1 - int(f"{error:.1e}".partition("e")[2]))


def scaled(entry: Json, key: str, scale: float) -> str:
    """Return a value in the shown unit, to two digits of its standard deviation."""
    value = entry.get(key)
    return MISSING if value is None else number(float(value) * scale, _form(entry, scale))


def deviation(entry: Json, key: str, scale: float) -> str:
    """Return a standard deviation in the shown unit, to two digits."""
    value = entry.get(key)
    if value is None:
        return MISSING
    return number(float(value) * scale, f"{{:.{_decimals(abs(float(value)) * scale)}f}}")


def probability(value: float, error: float, log: float | None = None) -> str:
    """Return a probability with its error, if that shows; below 0.001 as a power of ten.

    Args:
        value: the probability, zero where it is too small for a number.
        error: its Monte Carlo error.
        log: its logarithm; that of `value` if not given.
    """
    if value < _SMALL:
        text = power(value) if log is None else exponential(log)
        mantissa, times, raised = text.partition(" × ")
        share = error / value * float(mantissa) if value > 0.0 and times else 0.0
        return f"({mantissa} ± {share:.2f}) × {raised}" if share >= _LEAST else text
    decimals = min(max(4, _decimals(error)), _DIGITS) if error > 0.0 else 4
    text = f"{value:.{decimals}f}"
    return f"{text} ± {error:.{decimals}f}" if error > 0.5 * 10.0**-decimals else f"{value:.4f}"


def _form(entry: Json, scale: float) -> str:
    return f"{{:.{_decimals(abs(float(entry.get('sd') or 0.0)) * scale)}f}}"


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
