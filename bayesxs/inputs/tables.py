"""Text files of numbers: columns of a CSV, or plain lines; one line says what cannot be read."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from bayesxs.errors import InputError

# Makes the message of a cell from its row, its column, its text, and what it is not
type Refuse = Callable[[int, str, str | None, str], InputError]


def read_columns(path: Path, columns: Sequence[str], refuse: Refuse) -> Iterator[list[float]]:
    """Yield the wanted columns of each row of a CSV file with a header line.

    Args:
        path: the file; other columns are ignored.
        columns: their names, in the order wanted.
        refuse: called as refuse(row, column, text, fault) for a cell that is not "a number" or not
            "finite"; rows count from zero, a cell that is missing has no text.

    Raises:
        InputError: unreadable file, a missing column, or what `refuse` returns.
    """
    for number, row in enumerate(_rows(path, columns)):
        yield [_number(number, *cell, refuse) for cell in zip(columns, row, strict=True)]


def column_names(path: Path) -> list[str]:
    """Return the names in the header line of a CSV file.

    Raises:
        InputError: unreadable file.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            return list(csv.DictReader(stream).fieldnames or [])
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV: {error}") from None


def _rows(path: Path, columns: Sequence[str]) -> list[list[str | None]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            header = reader.fieldnames or []
            for column in columns:
                if column not in header:
                    raise InputError.at(path, "columns", ",".join(header), f"{column} is missing")
            return [[row[column] for column in columns] for row in reader]
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV: {error}") from None


def _number(row: int, column: str, text: str | None, refuse: Refuse) -> float:
    try:
        value = float(text or "")
    except ValueError:
        raise refuse(row, column, text, "a number") from None
    if not np.isfinite(value):
        raise refuse(row, column, text, "finite")
    return value


def read_lines(path: str | Path, content: str) -> list[str]:
    """Return the lines of a text file.

    Args:
        path: the file.
        content: what it should hold, as in "a table of fluxes"; named in messages.

    Raises:
        InputError: unreadable file, or no text.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file: expected {content}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
