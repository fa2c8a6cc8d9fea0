"""Unbinned far-detector events from a CSV file."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bayesxs.errors import InputError
from bayesxs.inputs.tables import read_columns

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

    def refuse(row: int, column: str, text: str | None, fault: str) -> InputError:
        return InputError.at(path, f"event {row}: {column}", text, f"must be {fault}")

    values = np.array(list(read_columns(path, COLUMNS, refuse)))
    if not len(values):
        raise InputError(f"{path}: no events: at least one row is needed")
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
