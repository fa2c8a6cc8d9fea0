"""Bins of reconstructed energy and angle, and the true cells that a response is applied to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from bayesxs.constants import NUCLEON_MASS
from bayesxs.errors import InputError
from bayesxs.physics.kinematics import lepton_momentum, z_from_cosine
from bayesxs.types import Floats

# Share of an even density in edges that follow events
EVEN: Final = 0.25


@dataclass(frozen=True)
class RecoGrid:
    """Bins in reconstructed energy and angle; flattened bins run over the angle fastest.

    Attributes:
        energy_edges: total lepton energy in GeV, shape (n_energy + 1,). The last bin collects
            everything above, whatever its upper edge; events below the first edge are lost.
        angle_edges: angle to the beam in rad, from 0 to pi, shape (n_angle + 1,).

    Raises:
        InputError: edges that do not increase, or angles that do not run from 0 to pi.
    """

    energy_edges: Floats
    angle_edges: Floats

    def __post_init__(self) -> None:
        for name in ("energy_edges", "angle_edges"):
            edges = getattr(self, name)
            if not (
                np.ndim(edges) == 1
                and len(edges) > 1
                and np.all(np.isfinite(edges))
                and np.all(np.diff(edges) > 0.0)
            ):
                raise InputError.at("reco grid", name, edges, "two or more that increase")
        if not np.allclose(self.angle_edges[[0, -1]], [0.0, np.pi], rtol=0.0, atol=1e-9):
            raise InputError.at("reco grid", "angle_edges", self.angle_edges, "from 0 to pi")

    @property
    def shape(self) -> tuple[int, int]:
        """Number of bins in (E_rec, theta_rec)."""
        return len(self.energy_edges) - 1, len(self.angle_edges) - 1

    @property
    def size(self) -> int:
        """Number of bins."""
        return self.shape[0] * self.shape[1]

    @property
    def energy_centers(self) -> Floats:
        """Bin centers in E_rec, GeV."""
        return 0.5 * (self.energy_edges[1:] + self.energy_edges[:-1])

    @property
    def angle_centers(self) -> Floats:
        """Bin centers in theta_rec, rad."""
        return 0.5 * (self.angle_edges[1:] + self.angle_edges[:-1])

    def index(self, energy: ArrayLike, theta: ArrayLike) -> NDArray[np.intp]:
        """Return the flattened bin of each event (GeV, rad), -1 below the first energy."""
        n_energy, n_angle = self.shape
        i = np.searchsorted(self.energy_edges, np.asarray(energy), side="right") - 1
        j = np.searchsorted(self.angle_edges, np.asarray(theta), side="right") - 1
        bins = np.minimum(i, n_energy - 1) * n_angle + np.clip(j, 0, n_angle - 1)
        return np.where(i >= 0, bins, -1)

    def count(self, energy: ArrayLike, theta: ArrayLike) -> Floats:
        """Count reconstructed events (GeV, rad) per bin, shape (size,)."""
        bins = self.index(energy, theta)
        return np.bincount(bins[bins >= 0], minlength=self.size).astype(float)


def reco_grid(
    lepton_energy: ArrayLike,
    theta: ArrayLike,
    weights: ArrayLike,
    n_energy: int,
    n_angle: int,
    lepton_mass: float,
    energy_max: float,
    even: float = EVEN,
) -> RecoGrid:
    """Choose edges so that each bin takes the same share of events and of the range, blended.

    The edges are quantiles of (1 - even) p + even u, p the marginal density of the events and u the
    even one: a row or column of bins holds at most 1/(1 - even) of an equal share of the events and
    spans at most 1/even of an equal share of the range.

    Args:
        lepton_energy: E_l of the events or cells in GeV, shape (n,).
        theta: angle in rad, shape (n,).
        weights: expected events of each, any scale, shape (n,).
        n_energy: bins in energy, from the lepton's mass to `energy_max`.
        n_angle: bins in angle, from 0 to pi.
        lepton_mass: m in GeV.
        energy_max: upper edge of the last energy bin in GeV.
        even: share of the even density, in (0, 1].

    Raises:
        InputError: no bins, weights that are negative or vanish, or `even` outside (0, 1].
    """
    weights = np.asarray(weights, dtype=float)
    if min(n_energy, n_angle) < 1:
        raise InputError.at("reco grid", "bins", (n_energy, n_angle), "at least 1 x 1")
    if not (np.all(weights >= 0.0) and 0.0 < weights.sum() < np.inf):
        raise InputError.at("reco grid", "weights", weights, ">= 0 and not all zero")
    if not 0.0 < even <= 1.0:
        raise InputError.at("reco grid", "even", even, "in (0, 1]")
    return RecoGrid(
        blended_edges(lepton_energy, weights, n_energy, lepton_mass, energy_max, even),
        blended_edges(theta, weights, n_angle, 0.0, np.pi, even),
    )


def blended_edges(
    values: ArrayLike, weights: Floats, bins: int, low: float, high: float, even: float
) -> Floats:
    """Return quantiles of a blend of weighted values and an even density, shape (bins + 1,).

    Each value is spread half way to its neighbors.

    Args:
        values: shape (n,); those beyond the ends count as at them.
        weights: >= 0, shape (n,).
        bins: number of bins.
        low: lower end.
        high: upper end.
        even: share of the even density.
    """
    distinct, which = np.unique(np.clip(np.asarray(values), low, high), return_inverse=True)
    knots = np.concatenate([[low], 0.5 * (distinct[1:] + distinct[:-1]), [high]])
    share = np.concatenate([[0.0], np.cumsum(np.bincount(which.ravel(), weights))])
    blend = (1.0 - even) * share / share[-1] + even * (knots - low) / (high - low)
    edges = np.interp(np.linspace(0.0, 1.0, bins + 1), blend, knots)
    edges[[0, -1]] = low, high
    return edges


class TrueCells(NamedTuple):
    """Cells, flattened: centers (E_l in GeV, theta in rad, z) and areas dE_l dz in GeV."""

    lepton_energy: Floats
    theta: Floats
    z: Floats
    areas: Floats


def cell_grid(energy_max: float, n_energy: int, n_angle: int, lepton_mass: float) -> RecoGrid:
    """Return the edges of `true_cells`: even in ln E_l, and in theta^(2/3)."""
    log_energy = np.linspace(np.log(lepton_mass), np.log(energy_max), n_energy + 1)
    return RecoGrid(np.exp(log_energy), np.pi * np.linspace(0, 1, n_angle + 1) ** 1.5)


def true_cells(energy_max: float, n_energy: int, n_angle: int, lepton_mass: float) -> TrueCells:
    """Cut all (E_l, theta) up to `energy_max` into cells that a response can be applied to.

    The response takes a cell for a point at its center, so cells must be narrower than about two
    standard deviations: they are even in ln E_l, like a relative width, and in theta^(2/3), finer
    forward. Up to 10 GeV, 120 x 80 of them resolve 5 % and 1 degree; as many cells that are even in
    (E_l, z) do not, below 2 GeV. A spectrum at (E_l, z) times the areas is the events in each.
    """
    grid = cell_grid(energy_max, n_energy, n_angle, lepton_mass)
    energy = np.repeat(grid.energy_centers, n_angle)
    theta = np.tile(grid.angle_centers, n_energy)
    # dz = (p_l / M) sin(theta) dtheta at fixed E_l
    density = lepton_momentum(energy, lepton_mass) / NUCLEON_MASS * np.sin(theta)
    areas = density * np.outer(np.diff(grid.energy_edges), np.diff(grid.angle_edges)).ravel()
    return TrueCells(energy, theta, z_from_cosine(energy, np.cos(theta), lepton_mass), areas)
