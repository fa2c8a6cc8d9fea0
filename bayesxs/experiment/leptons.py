"""Leptons of the near detector one by one."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from bayesxs.errors import InputError
from bayesxs.types import Floats

# Leptons along the beam stay in the physical region however they are rounded
EDGE: Final = 1.0 - 1e-12

# Events one by one at most: bounds memory
MOST: Final = 10_000_000


class Leptons(NamedTuple):
    """Leptons as a detector sees them, one by one; columns of shape (n,).

    Attributes:
        lepton_energy: GeV.
        cos_theta: to the beam.
        weight: of each event.
    """

    lepton_energy: Floats
    cos_theta: Floats
    weight: Floats

    @property
    def scale(self) -> float:
        """Factor from sums of weights to effective counts: sum w / sum w^2 (Kish 1965)."""
        return float(self.weight.sum() / np.sum(self.weight**2))

    def drawn(self, number: int, rng: np.random.Generator) -> Leptons:
        """Return a part of so many events, drawn without replacement."""
        chosen = np.sort(rng.permutation(len(self.weight))[:number])
        return Leptons(*(column[chosen] for column in self))

    def part(self, chosen: np.ndarray) -> Leptons:
        """Return a part of the events, by index or mask."""
        return Leptons(*(column[chosen] for column in self))


def near_events(
    lepton_energy: ArrayLike, cos_theta: ArrayLike, weight: ArrayLike | None = None
) -> Leptons:
    """Return near-detector events in arrays, one by one, for `Experiment.near_data`.

    Weighted events count effectively: (sum w)^2/sum w^2 of them.

    Args:
        lepton_energy: in GeV, shape (n,).
        cos_theta: to the beam, shape (n,).
        weight: of each event, >= 0, shape (n,); 1 if None.

    Raises:
        InputError: arrays of other shapes, no events or too many, values that are not finite or
            outside of their range (the first one is named by its index).

    Example:
        >>> own = bayesxs.near_events([1.2, 2.5, 3.1], [0.90, 0.98, 0.99])
        >>> float(exp.near_data(events=own).detectors["mu"].observed.sum())
        3.0
    """
    energy, cosine = (np.asarray(a, dtype=float) for a in (lepton_energy, cos_theta))
    own = np.ones(energy.shape) if weight is None else np.asarray(weight, dtype=float)
    if energy.ndim != 1 or not 0 < len(energy) <= MOST:
        allowed = f"(n,) with n from 1 to {MOST}"
        raise InputError.at("near_events", "shape of lepton_energy", energy.shape, allowed)
    for name, values, good, allowed in (
        ("lepton_energy", energy, energy > 0.0, "above 0, in GeV"),
        ("cos_theta", cosine, np.abs(cosine) <= 1.0, "between -1 and 1"),
        ("weight", own, own >= 0.0, "at least 0"),
    ):
        if values.shape != energy.shape:
            raise InputError.at("near_events", f"shape of {name}", values.shape, f"{energy.shape}")
        bad = ~(good & np.isfinite(values))
        if bad.any():
            first = int(np.argmax(bad))
            more = f" (and {bad.sum() - 1} more)" if bad.sum() > 1 else ""
            raise InputError.at("near_events", f"{name}[{first}]", values[first], allowed + more)
    if not own.any():
        raise InputError.at("near_events", "weight", "all zero", "some above zero")
    return Leptons(energy, cosine, own)
