"""Far-detector data as arrays, and the bins in which counts are predicted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import prod

import jax
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpy.typing import DTypeLike

from bayesxs.errors import InputError
from bayesxs.inference.channel import FarChannel


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["lepton_energy", "cos_theta", "sample", "counts"],
    meta_fields=[],
)
@dataclass(frozen=True)
class FarData:
    """Data of the far detector: events one by one, or counts in bins.

    It can be the ``obs`` of a NumPyro site, where it stands as one value without dimensions.

    Attributes:
        lepton_energy: of the events in GeV, shape (n,).
        cos_theta: of the events' leptons, shape (n,).
        sample: number of each event's sample, shape (n,).
        counts: in the bins of all samples, one sample after the other; None for events.

    Example:
        >>> own = bayesxs.FarData(lepton_energy=[1.8, 2.6], cos_theta=[0.95, 0.99])
        >>> int(np.asarray(own))
        2
    """

    lepton_energy: ArrayLike | None = None
    cos_theta: ArrayLike | None = None
    sample: ArrayLike | None = None
    counts: ArrayLike | None = None

    # NumPyro asks what is observed for its shape, which must broadcast with that of the site
    @property
    def shape(self) -> tuple[int, ...]:
        """Shape as NumPyro sees it: one value."""
        return ()

    @property
    def ndim(self) -> int:
        """Number of dimensions as NumPyro sees it."""
        return 0

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        """Return the number of events: so ArviZ keeps the value that was observed."""
        events = self.lepton_energy
        number = np.asarray(self.counts).sum() if events is None else len(np.asarray(events))
        return np.array(number, dtype=dtype)


def check_same_data(own: FarData, given: FarData) -> None:
    """Refuse data for which a likelihood was not made.

    Shapes are always compared, values where both are known.

    Raises:
        InputError: kind, shape or values differ.
    """
    mend = "make a likelihood for these data: Experiment.likelihood(data, cross_section)"
    for name in ("lepton_energy", "cos_theta", "sample", "counts"):
        first, second = getattr(own, name), getattr(given, name)
        if (first is None) != (second is None):
            found = "absent" if second is None else "given"
            raise InputError.at("far data", name, found, mend)
        if first is None:
            continue
        if np.shape(first) != np.shape(second):
            wanted = f"shape {np.shape(first)} as in the likelihood; {mend}"
            raise InputError.at("far data", name, f"shape {np.shape(second)}", wanted)
        if _concrete(first) and _concrete(second):
            different = np.nonzero(np.ravel(np.asarray(first) != np.asarray(second)))[0]
            if len(different):
                i = different[0]
                was = np.ravel(first)[i]
                value = f"{np.ravel(second)[i]} at index {i}"
                raise InputError.at("far data", name, value, f"{was} as in the likelihood; {mend}")


def _concrete(value: ArrayLike) -> bool:
    return not isinstance(value, jax.core.Tracer)


@partial(
    jax.tree_util.register_dataclass, data_fields=["channel", "edges", "cells"], meta_fields=[]
)
@dataclass(frozen=True)
class FarBins:
    """Bins of one sample, in which its counts are predicted.

    Attributes:
        channel: rows are integrals over bins, folded without compression.
        edges: of the bins by axis, such as {"lepton_energy": (n + 1,), "cos_theta": (m + 1,)}.
        cells: place of each row in the flattened grid of the axes, shape (rows,); bins without a
            row cannot be reached.
    """

    channel: FarChannel
    edges: dict[str, Array]
    cells: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of bins along each axis."""
        return tuple(len(e) - 1 for e in self.edges.values())

    @property
    def size(self) -> int:
        """Number of bins."""
        return prod(self.shape)
