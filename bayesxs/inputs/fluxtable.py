"""Tables of fluxes as people have them: the text of a file to energies and values, or one line."""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np

from bayesxs.errors import InputError, InputNotice
from bayesxs.inputs.tables import MAX_COLUMNS, read_lines
from bayesxs.types import Floats as Float

SPECIES: Final = ("nu_e", "nu_mu", "nu_tau", "anti_nu_e", "anti_nu_mu", "anti_nu_tau")
CONTENT: Final = "a table of fluxes"
# What the energies of a table are, where it gives one for each row
Energies = Literal["centers", "low_edges"]

LOW, HIGH, ENERGY, CENTER, ERROR = "low", "high", "energy", "center", "error"
# Characters of a number and of a name: patterns need not look at more
_MAX_NUMBER: Final = 60
_MAX_NAME: Final = 60
_COMMENT: Final = re.compile(r"[#%!]")
_DECIMAL_COMMA: Final = re.compile(r"[+-]?\d*,\d+([eEdD][+-]?\d+)?")
_FORTRAN: Final = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))[dD]([+-]?\d+)")
_ERROR_NAME: Final = re.compile(
    r"(^|[^a-z])(d|err|error|errors|sigma|unc|uncertainty|stat|syst|std|sd)([^a-z]|$)"
)
_ENERGY_NAMES: Final = {
    **dict.fromkeys(("energy", "e", "enu", "eneutrino", "energygev", "egev", "enugev"), ENERGY),
    **dict.fromkeys(("center", "centre", "energycenter", "ecenter", "bincenter", "emid"), CENTER),
}
_BETWEEN: Final = r"(?:e|enu|energy|bin|edge|x)*"
_LOW_NAME: Final = re.compile(rf"{_BETWEEN}(?:low|lower|lo|min|left){_BETWEEN}")
_HIGH_NAME: Final = re.compile(rf"{_BETWEEN}(?:high|higher|upper|up|hi|max|right){_BETWEEN}")


class FluxTable(NamedTuple):
    """A table as its file holds it, in order of energy."""

    energy: Float  # (n,), GeV, what stands for each row
    edges: Float | None  # (n + 1,), GeV, where the rows are bins
    values: Float  # (n, 6), in the order of SPECIES
    rows: list[int]  # line numbers


def species_of(name: str) -> str | None:
    """Return the species that a name stands for, as in numu, nu_mu_bar or anumu; none if none."""
    word = re.sub(r"[^a-z]", "", name.lower().replace("ν", "nu").replace("μ", "mu"))
    word = word.replace("τ", "tau").replace("flux", "").replace("neutrino", "nu")
    anti = word.startswith(("anti", "anu")) or word.endswith("bar") or word.startswith("nubar")
    core = re.sub(r"^anti|^a(?=nu)|bar", "", word)
    flavor = {"nue": "nu_e", "numu": "nu_mu", "nutau": "nu_tau"}.get(core)
    return f"anti_{flavor}" if flavor and anti else flavor


def read_flux_table(path: str | Path, header: bool, energies: Energies | None = None) -> FluxTable:
    """Read a table of fluxes from a text file.

    Cells are separated by commas, semicolons, tabs or spaces; #, % and ! start a comment. A header
    names the columns: energy, or the low and the high edge of each bin, and species, as in numu.
    Columns of errors are ignored with a notice. Without a header the columns are those of GLoBES,
    after one energy or two edges.

    Args:
        path: the file.
        header: whether a header line is needed.
        energies: their meaning where there is one for each row.

    Raises:
        InputError: naming file, line and column at fault.
    """
    table = list(_cells(path))
    names = _header(path, table, header)
    lines = table[1:] if names is not None and table and _is_header(table[0][1]) else table
    if names is None:
        wide = bool(lines) and len(lines[0][1]) == len(SPECIES) + 2
        names = [LOW, HIGH, *SPECIES] if wide else [ENERGY, *SPECIES]
        roles = list(names)
    else:
        roles = _roles(path, names)
    numbers = np.array(
        [_numbers(path, row, names, roles, cells) for row, cells in lines], float
    ).reshape(-1, len(names))
    rows = [row for row, _ in lines]
    column = {role: numbers[:, i] for i, role in enumerate(roles)}
    values = np.stack([column.get(name, np.zeros(len(rows))) for name in SPECIES], axis=1)
    low, high = column.get(LOW), column.get(HIGH)
    first = next(column[role] for role in (ENERGY, CENTER, LOW) if role in column)
    if len(first) > 1 and np.all(first[1:] < first[:-1]):
        first, values, rows = first[::-1], values[::-1], rows[::-1]
        low, high = (None if side is None else side[::-1] for side in (low, high))
    edges = None
    if low is not None and high is not None:
        edges = _meeting(path, low, high, rows)
        first = 0.5 * (edges[:-1] + edges[1:])
    elif CENTER not in column:
        edges = _edges_if_low(path, first, energies)
        first = first if edges is None else 0.5 * (edges[:-1] + edges[1:])
    return FluxTable(first, edges, values, rows)


def _cells(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells of each line that holds any."""
    split: str | None = ""
    for number, line in enumerate(read_lines(path, CONTENT), start=1):
        text = _COMMENT.split(line, maxsplit=1)[0].strip()
        if not text.strip(",; \t"):
            continue
        if split == "":
            split = _separator(text)
        try:
            cells = next(csv.reader([text], delimiter=split)) if split else text.split()
        except csv.Error as error:
            raise InputError(f"{path}: row {number}: cannot be read: {error}") from None
        if len(cells) > MAX_COLUMNS:
            raise InputError.at(path, f"row {number}: columns", len(cells), "at most 7")
        yield number, [cell.strip() for cell in cells]


def _separator(line: str) -> str | None:
    words = line.split()
    if len(words) > 1 and any(map(_has_decimal_comma, words)):
        return None
    return next((mark for mark in ";," if mark in line), "\t" if "\t" in line else None)


def _is_header(cells: Sequence[str]) -> bool:
    return not any(_is_number(cell) or _has_decimal_comma(cell) for cell in cells)


def _is_number(cell: str) -> bool:
    try:
        float(_python(cell))
    except ValueError:
        return False
    return True


def _python(cell: str) -> str:
    """Return a number with Fortran's exponent as Python writes it, all else as it is."""
    found = _FORTRAN.fullmatch(cell) if len(cell) <= _MAX_NUMBER else None
    return f"{found[1]}e{found[2]}" if found else cell


def _has_decimal_comma(cell: str) -> bool:
    return len(cell) <= _MAX_NUMBER and bool(_DECIMAL_COMMA.fullmatch(cell))


def _header(path: str | Path, table: list[tuple[int, list[str]]], needed: bool) -> list[str] | None:
    if not table:
        if needed:
            raise InputError(f"{path}: empty: a header line and at least two rows are needed")
        return None
    cells = table[0][1]
    if needed or (_is_header(cells) and len(cells) > 1):
        return cells
    return None


def _roles(path: str | Path, names: Sequence[str]) -> list[str]:
    """Return the content of each named column."""
    allowed = f"energy and any of {', '.join(SPECIES)}, once each"
    roles = []
    for name in names:
        if len(name) > _MAX_NAME:
            raise InputError.at(path, "column", name, f"a name of at most {_MAX_NAME} characters")
        unit = re.search(r"[^a-z](mev)(?:[^a-z]|$)", f" {name.lower()} ")
        role = _role(name)
        if role is None:
            raise InputError.at(path, "column", name, allowed)
        if unit and role in (ENERGY, CENTER, LOW, HIGH):
            raise InputError.at(path, "column", name, "energies in GeV: divide them by 1000")
        roles.append(role)
    ignored = [name for name, role in zip(names, roles, strict=True) if role == ERROR]
    held = [role for role in roles if role != ERROR]
    energies = [role for role in held if role in (ENERGY, CENTER, LOW, HIGH)]
    both = {LOW, HIGH} <= set(energies)
    complete = both if {LOW, HIGH} & set(energies) else len(energies) == 1
    if not complete or len(set(held)) < len(held) or not set(held) & set(SPECIES):
        raise InputError.at(path, "header", ",".join(names), allowed)
    if ignored:
        told = InputNotice.at(path, "columns", ", ".join(ignored), "errors, which are not used")
        warnings.warn(told, stacklevel=2)
    return roles


def _role(name: str) -> str | None:
    plain = re.sub(r"[\[(].*?[\])]", "", name.lower())
    if _ERROR_NAME.search(plain):
        return ERROR
    word = re.sub(r"[^a-z]", "", re.sub(r"[^a-z]([mgk]?ev)$", "", plain.strip()))
    if word in _ENERGY_NAMES:
        return _ENERGY_NAMES[word]
    if _LOW_NAME.fullmatch(word):
        return LOW
    return HIGH if _HIGH_NAME.fullmatch(word) else species_of(plain)


def _numbers(
    path: str | Path, row: int, names: Sequence[str], roles: Sequence[str], cells: list[str]
) -> list[float]:
    if len(cells) != len(names):
        needed = f"{len(names)}: {', '.join(names)}"
        if len(cells) == 2 * len(names):
            needed += "; a decimal comma is written as a point"
        raise InputError.at(path, f"row {row}: columns", len(cells), needed)
    values = []
    for name, role, cell in zip(names, roles, cells, strict=True):
        try:
            value = 0.0 if role == ERROR else float(_python(cell))
        except ValueError:
            comma = _has_decimal_comma(cell)
            allowed = f"a decimal comma: write {cell.replace(',', '.')}" if comma else "a number"
            raise InputError.at(path, f"row {row}: {name}", cell or "(empty)", allowed) from None
        values.append(value)
    return values


def _meeting(path: str | Path, low: Float, high: Float, rows: Sequence[int]) -> Float:
    for i in np.flatnonzero(~(high > low))[:1]:
        raise InputError.at(path, f"row {rows[i]}: high edge", high[i], f"above the low, {low[i]}")
    apart = np.flatnonzero(~np.isclose(low[1:], high[:-1], rtol=1e-6, atol=0.0))
    for i in apart[:1]:
        allowed = f"where the bin before ends, {high[i]}"
        raise InputError.at(path, f"row {rows[i + 1]}: low edge", low[i + 1], allowed)
    return np.append(low, high[-1:])


def _edges_if_low(path: str | Path, energy: Float, energies: Energies | None) -> Float | None:
    """Return the edges of bins whose low edges the energies are; none where they are centers."""
    if not np.all(np.isfinite(energy)):
        return None  # refused with all other tables
    steps = np.diff(energy)
    even = len(steps) > 0 and bool(np.allclose(steps, steps[0], rtol=1e-6, atol=0.0))
    # A bin around zero would reach below it: these are low edges, or points of a curve
    if energies is None and even and energy[0] == 0.0 and steps[0] > 0.0:
        allowed = 'low edges of bins or points? Write energies = "low_edges" or "centers"'
        raise InputError.at(path, "energy", f"0, {energy[1]:g}, ...", allowed)
    if energies != "low_edges" or len(energy) < 2:
        return None
    return np.append(energy, energy[-1] + steps[-1])
