"""Near-detector events that a training takes one by one: the sum of their log densities.

arXiv:2412.16303 calls it direct Monte Carlo integration over near-detector events. What the loss
needs of them is made once: points that stand for the events (`detector.event_points`), rows of the
operator at the points, and the integral of the density.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import numpy as np
from scipy import sparse

from bayesxs.detector.event_points import EventPoints, points_of_events
from bayesxs.detector.grid import NodeGrid
from bayesxs.detector.operator import build_operator
from bayesxs.errors import InputError
from bayesxs.experiment.near import NearDetector
from bayesxs.keys import generator
from bayesxs.learning.near_problem import NearProblem, unbinned_problem
from bayesxs.types import Floats


@dataclass(frozen=True)
class UnbinnedData:
    """Events one by one as a loss needs them; plain arrays, for other processes too.

    Attributes:
        points: that stand for the events.
        matrix: densities at the points times their volumes, shape (points, 3 n_nodes).
        total: integral of the density, shape (3 n_nodes,).
        weight: of the events, shape (n,).
    """

    points: EventPoints
    matrix: sparse.csr_array
    total: Floats
    weight: Floats

    def problem(self, nodes: NodeGrid, floor: float, rank: int | None) -> NearProblem:
        """Return -2 log L per event as a loss.

        Args:
            nodes: the nodes.
            floor: relative floor of the weights in the squared error of coarse steps.
            rank: functions that rows are projected on; None for rows as they are.
        """
        weight = self.weight * (self.weight.sum() / np.sum(self.weight**2))
        counts, expected = self.points.weights(weight), weight.sum() * self.points.expected
        return unbinned_problem(
            self.matrix, self.total, counts, expected, nodes, floor=floor, rank=rank
        )

    def replica(self, key: jax.Array) -> UnbinnedData:
        """Return as many events as there are, drawn with replacement."""
        size = len(self.weight)
        drawn = np.bincount(generator(key).integers(0, size, size), minlength=size)
        return replace(self, weight=self.weight * drawn)


def unbinned_data(near: NearDetector) -> UnbinnedData:
    """Return the events of a near detector as a loss takes them.

    Raises:
        InputError: there are none one by one; a detector's resolution has acted on them; no
            neutrino makes such a lepton, and those are not to be dropped.
    """
    geometry, source = near.geometry, near.source
    if geometry.response is not None:
        allowed = '"binned" where a detector reconstructs energies and angles'
        raise InputError.at(source.source, "training.loss", '"unbinned"', allowed)
    if near.leptons is None:
        allowed = '"binned" where near data are no events one by one'
        raise InputError.at(source.source, "training.loss", '"unbinned"', allowed)
    leptons = near.possible_leptons
    energies, flux = geometry.energies, geometry.target.near_flux
    high = float(energies.edges[-1])
    points = points_of_events(*leptons, geometry.lepton_mass, high, geometry.space)
    energy, z, volume = np.concatenate(
        [np.stack([points.lepton_energy, points.z, points.volume]), points.grid], axis=1
    )
    operator = build_operator(geometry.rows(energy, z), energies, geometry.nodes)
    volumes = sparse.csr_array(sparse.diags_array(volume))
    rows = operator.summed_matrix(flux, volumes)
    alone = slice(points.dense, len(points.z))
    total = rows.sum(axis=0) - rows[alone].sum(axis=0)
    return UnbinnedData(points, rows[: len(points.z)], np.asarray(total), leptons.weight)
