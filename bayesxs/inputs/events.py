"""Unbinned far-detector events from a CSV file."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bayesxs.errors import InputError

COLUMNS = ("lepton_energy_GeV", "cos_theta")


class LeptonEvents(NamedTuple):
    """Hold what the detector sees of each event."""

    lepton_energy: NDArray[np.float64]  # GeV, shape (n,)
    cos_theta: NDArray[np.float64]  # to the beam, shape (n,)


def load_events(path: str | Path, lepton_mass: float) -> LeptonEvents:
    """Read events from a CSV file with the columns lepton_energy_GeV and cos_theta.

    Args:
        path: the file; other columns are ignored.
        lepton_mass: m in GeV; E_l > m is required.

    Raises:
        InputError: unreadable file, a missing column, no rows, or an unphysical row (named by its
            index, counting from zero).
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            header = reader.fieldnames or []
            for column in COLUMNS:
                if column not in header:
                    raise InputError.at(path, "columns", ",".join(header), f"{column} is missing")
            rows = [(row[COLUMNS[0]], row[COLUMNS[1]]) for row in reader]
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV: {error}") from None
    if not rows:
        raise InputError(f"{path}: no events: at least one row is needed")
    values = np.array(
        [
            [_number(path, i, c, v) for c, v in zip(COLUMNS, row, strict=True)]
            for i, row in enumerate(rows)
        ]
    )
    energy, cosine = values.T
    for number, bad, allowed in (
        (0, ~(energy > lepton_mass), f"E_l must be above the lepton mass, {lepton_mass:.6g} GeV"),
        (1, ~(np.abs(cosine) <= 1.0), "must lie between -1 and 1"),
    ):
        if bad.any():
            first = int(np.argmax(bad))
            more = f" (and {bad.sum() - 1} more rows)" if bad.sum() > 1 else ""
            where = f"event {first}: {COLUMNS[number]}"
            raise InputError.at(path, where, values[first, number], allowed + more)
    return LeptonEvents(energy, cosine)


def _number(path: Path, index: int, column: str, text: str | None) -> float:
    try:
        value = float(text or "")
    except ValueError:
        raise InputError.at(path, f"event {index}: {column}", text, "must be a number") from None
    if not np.isfinite(value):
        raise InputError.at(path, f"event {index}: {column}", text, "must be finite")
    return value
