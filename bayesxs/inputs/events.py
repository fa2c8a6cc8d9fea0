"""Unbinned far-detector events from a CSV file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bayesxs.errors import InputError
from bayesxs.inputs.tables import column_names, read_columns
from bayesxs.types import Floats

# Energy in GeV, and cos(theta) or theta in rad. The last two are those of a run's own events.nc,
# whose reconstructed quantities a detector with response has measured
COLUMNS: Final = ("lepton_energy_GeV", "cos_theta")
OWN: Final = ("lepton_energy", "cos_theta")
RECONSTRUCTED: Final = ("reco_lepton_energy", "reco_angle")

# Number of the [[sample]] that an event belongs to, from zero
SAMPLE: Final = "sample"

WEIGHTS: Final = ("weight", "weights", "wght", "event_weight")


class LeptonEvents(NamedTuple):
    """Hold the seen quantities of each event."""

    lepton_energy: Floats  # GeV, shape (n,)
    cos_theta: Floats  # to the beam, shape (n,)
    sample: NDArray[np.int8]  # to which each belongs, shape (n,)


def load_events(
    path: str | Path, lepton_masses: Sequence[float], *, reconstructed: bool = False
) -> LeptonEvents:
    """Read events from a CSV file with the columns lepton_energy_GeV and cos_theta.

    Those of a run's own events.nc do as well: lepton_energy and cos_theta, or, reconstructed,
    reco_lepton_energy and reco_angle.

    Args:
        path: the file; other columns are ignored.
        lepton_masses: m in GeV of each sample; E_l > m is required unless it is reconstructed.
            More than one needs the column sample, which counts them from zero.
        reconstructed: whether a detector's resolution has acted on energies and angles.

    Raises:
        InputError: unreadable file, a missing column, weights, no rows, or an unphysical row (named
            by its index, counting from zero).
    """
    path = Path(path)
    present = column_names(path)
    for name in present:
        if name.strip().lower() in WEIGHTS:
            allowed = "every event counts once: draw events by their weights, or drop the column"
            raise InputError.at(path, "columns", name, allowed)
    columns = next((pair for pair in _pairs(reconstructed) if pair[0] in present), COLUMNS)
    named = SAMPLE in present or len(lepton_masses) > 1

    def refuse(row: int, column: str, text: str | None, fault: str) -> InputError:
        return InputError.at(path, f"event {row}: {column}", text, f"must be {fault}")

    wanted = (*columns, SAMPLE) if named else columns
    values = np.array(list(read_columns(path, wanted, refuse)))
    if not len(values):
        raise InputError(f"{path}: no events: at least one row is needed")
    energy, angle = values[:, 0], values[:, 1]
    sample = values[:, 2] if named else np.zeros(len(values))
    bad_sample = ~np.isin(sample, np.arange(len(lepton_masses)))
    own = np.where(bad_sample, 0, sample).astype(np.int8)
    lowest = np.zeros(len(values)) if reconstructed else np.asarray(lepton_masses)[own]
    mass = f"{lepton_masses[0]:.6g}" if len(lepton_masses) == 1 else "its"
    threshold = f"E_l must be above the lepton mass, {mass} GeV"
    in_angle = columns[1] == RECONSTRUCTED[1]
    inside = (angle >= 0.0) & (angle <= np.pi) if in_angle else np.abs(angle) <= 1.0
    between = "must lie between 0 and pi" if in_angle else "must lie between -1 and 1"
    last = len(lepton_masses) - 1
    for number, bad, allowed in (
        (2, bad_sample, f"the number of a [[sample]], from 0 to {last}" if last else "0"),
        (0, ~(energy > lowest), "must be above 0" if reconstructed else threshold),
        (1, ~inside, between),
    ):
        if bad.any():
            first = int(np.argmax(bad))
            more = f" (and {bad.sum() - 1} more rows)" if bad.sum() > 1 else ""
            where = f"event {first}: {wanted[number]}"
            raise InputError.at(path, where, values[first, number], allowed + more)
    return LeptonEvents(energy, np.cos(angle) if in_angle else angle, own)


def _pairs(reconstructed: bool) -> tuple[tuple[str, str], ...]:
    return (RECONSTRUCTED, COLUMNS, OWN) if reconstructed else (COLUMNS, OWN)
