"""Text files of numbers: columns of a CSV, or plain lines; messages of one line.

Files come from anywhere: their size, their lines and their fields are bounded before they are used.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np

from bayesxs.errors import InputError

# A million events of thirty characters, twice; a covariance of two thousand bins in one line
MAX_BYTES: Final = 64_000_000
MAX_LINE: Final = 100_000
MAX_COLUMNS: Final = 1_000
_ALLOWED_CONTROLS: Final = frozenset("\t\n\r\f\v")

# Makes the message of a cell from its row, its column, its text, and its fault
type Refuse = Callable[[int, str, str | None, str], InputError]


def read_columns(path: Path, columns: Sequence[str], refuse: Refuse) -> Iterator[list[float]]:
    """Yield the wanted columns of each row of a CSV file with a header line.

    Args:
        path: the file; other columns are ignored.
        columns: their names, in the order wanted.
        refuse: called as refuse(row, column, text, fault) for a cell that is not "a number" or not
            "finite"; rows count from zero, a cell that is missing has no text.

    Raises:
        InputError: unreadable file, a missing column, a row with more cells than the header, or
            what `refuse` returns.
    """
    for number, row in enumerate(_rows(path, columns)):
        yield [_number(number, *cell, refuse) for cell in zip(columns, row, strict=True)]


def column_names(path: Path) -> list[str]:
    """Return the names in the header line of a CSV file.

    Raises:
        InputError: unreadable file.
    """
    return next(_reader(path), [])


def _rows(path: Path, columns: Sequence[str]) -> Iterator[list[str | None]]:
    rows = _reader(path)
    header = next(rows, [])
    for column in columns:
        if column not in header:
            raise InputError.at(path, "columns", ",".join(header), f"{column} is missing")
    # A name that stands twice means its last column, as in csv.DictReader
    places = [len(header) - 1 - header[::-1].index(column) for column in columns]
    for number, row in enumerate(rows):
        if len(row) > len(header) and any(row[len(header) :]):
            allowed = f"{len(header)} as the header: no decimal commas"
            raise InputError.at(path, f"row {number}: columns", len(row), allowed)
        yield [row[place] if place < len(row) else None for place in places]


def _reader(path: Path) -> Iterator[list[str]]:
    """Yield the rows of a CSV file that are not empty, the header first."""
    try:
        # A quoted field may run over lines, whose ends are part of it
        lines = (f"{line}\n" for line in read_lines(path, "a CSV file", "as CSV: "))
        for row in csv.reader(lines):
            if len(row) > MAX_COLUMNS:
                raise InputError.at(path, "columns", len(row), f"at most {MAX_COLUMNS}")
            if row:
                yield row
    except csv.Error as error:
        raise InputError(f"{path}: cannot be read as CSV: {error}") from None


def _number(row: int, column: str, text: str | None, refuse: Refuse) -> float:
    try:
        value = float(text or "")
    except ValueError:
        raise refuse(row, column, text, "a number") from None
    if not np.isfinite(value):
        raise refuse(row, column, text, "finite")
    return value


def read_lines(path: str | Path, content: str, how: str = "") -> Iterator[str]:
    """Return the lines of a text file, without their ends.

    Args:
        path: the file.
        content: its expected content, as in "a table of fluxes"; named in messages.
        how: how it is read, as in "as CSV: "; named in messages.

    Raises:
        InputError: unreadable file, no text, or too large; a line that is too long, once it comes.
    """
    text = read_text(path, content, how=how)
    lines = (line.rstrip("\r\n") for line in io.StringIO(text, newline=None))
    first = next(lines, None)  # so that the file is read now, not at the first use
    return iter(()) if first is None else _bounded(path, chain([first], lines))


def _bounded(path: str | Path, lines: Iterator[str]) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        if len(line) > MAX_LINE:
            allowed = f"at most {MAX_LINE} characters"
            raise InputError.at(path, f"line {number}", f"{len(line)} characters", allowed)
        yield line


def read_text(path: str | Path, content: str, limit: int = MAX_BYTES, how: str = "") -> str:
    """Return a text file whole, in UTF-8 or, where it is not that, Latin-1.

    Args:
        path: the file.
        content: its expected content, as in "a table of fluxes"; named in messages.
        limit: largest size in bytes.
        how: how it is read, as in "as CSV: "; named in messages.

    Raises:
        InputError: unreadable file, larger than the limit, or no text.
    """
    try:
        with Path(path).open("rb") as stream:
            raw = stream.read(limit + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # a path with a null character
        raise InputError(f"{path}: cannot be read: {error}") from None
    if len(raw) > limit:
        raise InputError(f"{path}: larger than {limit // 1000} kB, too large for {content}")
    no_text = f"cannot be read {how}" if how else ""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        fault = f"{no_text}not a text file in UTF-8 (UTF-16?): expected {content}"
        raise InputError(f"{path}: {fault}")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    if any(ord(char) < 32 and char not in _ALLOWED_CONTROLS for char in set(text)):
        raise InputError(f"{path}: {no_text}not a text file: expected {content}")
    return text
