"""Does a cross section decompose into structure functions? A test of events in cells of (nu, Q^2).

Where one boson is exchanged, d2s/dnu dQ^2 at fixed (nu, Q^2) is a quadratic in 1/E: structure
functions depend on nu and Q^2 alone, and the lepton tensor makes the rest. So are integrals of it
over a cell, at energies for which all of the cell can be reached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bayesxs.constants import NUCLEON_MASS
from bayesxs.physics.kinematics import invariants, y_max, z_from_cosine
from bayesxs.types import Floats

# Events of a cell, to a factor two: a hundredth of the sample, within these bounds
_CELL: Final = (300, 3000)
FEWEST: Final = 20.0  # effective events that are expected in a bin
COEFFICIENTS: Final = 3
_FEWEST_IN_CELL: Final = 100

# GeV: even up to the middle, then twice as wide
_WIDTH: Final = 0.25
_MIDDLE: Final = 6.0
_FIRST: Final = 0.05  # the narrowest first bin

_STEP: Final = 5e-4  # GeV, of the integrals over the flux
_ROUNDS: Final = 8  # of weights that follow the fit


class Cell(NamedTuple):
    """One cell of (nu, Q^2), its bins of energy, and the fit.

    Attributes:
        nu: mean energy transfer, GeV.
        q2: mean Q^2, GeV^2.
        edges: of the bins, GeV, (bins + 1,).
        counts: sums of weights, (bins,).
        expected: the quadratic times the flux, (bins,).
        flux: its integral over each bin, (bins,).
        scale: mean weight, sum w^2 / sum w: the variance of counts over their expectation.
        coefficients: of 1, 1/E and 1/E^2.
        chi2: Pearson's.
        chi2_two: of a fit without 1/E^2.
    """

    nu: float
    q2: float
    edges: Floats
    counts: Floats
    expected: Floats
    flux: Floats
    scale: float
    coefficients: Floats
    chi2: float
    chi2_two: float

    @property
    def freedom(self) -> int:
        """Bins less coefficients."""
        return len(self.counts) - COEFFICIENTS

    @property
    def p_value(self) -> float:
        """Probability of a larger chi-square."""
        return float(stats.chi2.sf(self.chi2, self.freedom))


class Decomposition(NamedTuple):
    """The test of one sample of events.

    Attributes:
        name: of the sample, such as a channel.
        events: those in the range of energies.
        used: the part of them in bins of cells that could be fitted.
        chi2: over all cells.
        freedom: bins less coefficients, over all cells.
        p_value: the probability of a larger chi-square; NaN where no cell could be fitted.
        third: the probability of a larger drop of chi-square by the coefficients of 1/E^2.
        cells: the fits.
    """

    name: str
    events: int
    used: float
    chi2: float
    freedom: int
    p_value: float
    third: float
    cells: tuple[Cell, ...]


class FluxIntegrals:
    """Integrals of a flux times 1, 1/E and 1/E^2 over bins of energy."""

    def __init__(self, flux: Callable[[Floats], Floats], knots: Floats) -> None:
        """Tabulate them.

        Args:
            flux: of the neutrinos, per GeV, in any unit.
            knots: energies in GeV at which it has kinks or steps, first and last its support.
        """
        count = int((knots[-1] - knots[0]) / _STEP) + 1
        energy = np.unique(np.concatenate([knots, np.linspace(knots[0], knots[-1], count)]))
        middle = 0.5 * (energy[1:] + energy[:-1])
        inside = np.diff(energy) * flux(middle) * middle ** -np.arange(COEFFICIENTS)[:, None]
        self._energy = energy
        self._sums = np.concatenate([np.zeros((COEFFICIENTS, 1)), np.cumsum(inside, 1)], axis=1)

    def __call__(self, edges: Floats) -> Floats:
        """Return the integrals over the bins between edges in GeV, shape (bins, 3)."""
        at_edges = [np.interp(edges, self._energy, sums) for sums in self._sums]
        return np.diff(np.stack(at_edges, axis=1), axis=0)


def transfers(
    energy: Floats, lepton_energy: Floats, cos_theta: Floats, mass: float
) -> tuple[Floats, Floats]:
    """Return nu and Q^2 in GeV and GeV^2."""
    z = z_from_cosine(lepton_energy, cos_theta, mass)
    return energy - lepton_energy, invariants(energy, lepton_energy, z, mass).q2


def threshold(nu: Floats, q2: Floats, mass: float) -> Floats:
    """Return the least energy in GeV that reaches (nu, Q^2), nu / y_max."""
    return np.asarray(nu / y_max(q2 / (2.0 * NUCLEON_MASS * nu), q2, mass))


def decompose(
    energy: Floats,
    nu: Floats,
    q2: Floats,
    weight: Floats,
    flux: FluxIntegrals,
    mass: float,
    *,
    between: tuple[float, float] = (0.5, 10.0),
    cell: int | None = None,
    name: str = "all",
) -> Decomposition:
    """Fit the events of each cell in (nu, Q^2) by flux times a quadratic in 1/E.

    Cells halve the events again and again in ln nu or ln Q^2. A cell's bins begin at the largest
    threshold within it, so that the quadratic is exact, not only for small cells. Bins are merged
    until FEWEST effective events are expected, whatever was found in them.

    Args:
        energy: of the neutrinos, GeV, shape (n,).
        nu: energy transfer, GeV.
        q2: GeV^2.
        weight: of the events.
        flux: in which they were made.
        mass: of the lepton, GeV.
        between: energies that are looked at, GeV.
        cell: the fewest events of a cell; by default a hundredth of them, from 300 to 3000.
        name: of the sample.
    """
    low, high = between
    kept = (energy > low) & (energy < high) & (nu > 0.0) & (q2 > 0.0) & (weight > 0.0)
    energy, nu, q2, weight = energy[kept], nu[kept], q2[kept], weight[kept]
    fits = []
    size = int(np.clip(len(energy) // 100, *_CELL)) if cell is None else cell
    for rows in _cells(np.log(nu), np.log(q2), size):
        part = nu[rows], q2[rows]
        corners = np.array([part[1].min(), part[1].max()])
        highest = np.full(2, part[0].max())
        start = max(low, float(threshold(highest, corners, mass).max()))
        fit = _fit_cell(energy[rows], *part, weight[rows], flux, _edges(start, low, high))
        if fit is not None:
            fits.append(fit)
    freedom = sum(fit.freedom for fit in fits)
    chi2, two = (sum(getattr(fit, key) for fit in fits) for key in ("chi2", "chi2_two"))
    used = sum(float(fit.counts.sum()) for fit in fits) / max(float(weight.sum()), 1e-300)
    return Decomposition(
        name,
        len(energy),
        used,
        chi2,
        freedom,
        float(stats.chi2.sf(chi2, freedom)) if freedom else np.nan,
        float(stats.chi2.sf(two - chi2, len(fits))) if fits else np.nan,
        tuple(fits),
    )


def _cells(one: Floats, two: Floats, size: int) -> Iterator[NDArray[np.intp]]:
    """Yield the rows of each cell: halves along the longer side, until they are small enough."""
    waiting = [np.arange(len(one))]
    while waiting:
        rows = waiting.pop()
        if len(rows) < 2 * size:
            if len(rows):
                yield rows
            continue
        lengths = [np.ptp(np.quantile(side[rows], (0.05, 0.95))) for side in (one, two)]
        side = one if lengths[0] > lengths[1] else two
        order = np.argsort(side[rows], kind="stable")
        half = len(rows) // 2
        waiting += [rows[order[half:]], rows[order[:half]]]


def _edges(start: float, low: float, high: float) -> Floats:
    middle = min(max(_MIDDLE, low), high)
    fixed = np.concatenate(
        [np.arange(low, middle, _WIDTH), np.arange(middle, high - 1e-9, 2.0 * _WIDTH), [high]]
    )
    return np.concatenate([[start], fixed[fixed > start + _FIRST]])


def _fit_cell(
    energy: Floats, nu: Floats, q2: Floats, weight: Floats, flux: FluxIntegrals, edges: Floats
) -> Cell | None:
    counts = np.histogram(energy, edges, weights=weight)[0]
    squares = np.histogram(energy, edges, weights=weight**2)[0]
    if len(edges) <= COEFFICIENTS + 1 or counts.sum() ** 2 <= _FEWEST_IN_CELL * squares.sum():
        return None
    templates = flux(edges)
    scale = float(squares.sum() / counts.sum())
    expected = templates @ _least_squares(counts, templates)
    first = _merged(expected / scale)
    if len(first) <= COEFFICIENTS:
        return None
    counts = np.add.reduceat(counts, first)
    templates = np.add.reduceat(templates, first, axis=0)
    coefficients = _least_squares(counts, templates)
    two = templates[:, :2]
    return Cell(
        float(nu.mean()),
        float(q2.mean()),
        np.append(edges[first], edges[-1]),
        counts,
        templates @ coefficients,
        templates[:, 0],
        scale,
        coefficients,
        _pearson(counts, templates @ coefficients, scale),
        _pearson(counts, two @ _least_squares(counts, two), scale),
    )


def _merged(expected: Floats) -> NDArray[np.intp]:
    """Return the first of the bins that are taken together, each group with FEWEST or more."""
    first, inside = [0], 0.0
    for number, value in enumerate(expected):
        inside += max(float(value), 0.0)
        if inside >= FEWEST:
            first.append(number + 1)
            inside = 0.0
    return np.array(first[:-1] if len(first) > 1 else first)


def _least_squares(counts: Floats, templates: Floats) -> Floats:
    """Fit counts by templates; variances are those of the fit, as at the maximum likelihood."""
    expected = np.maximum(counts, 1.0)
    for _ in range(_ROUNDS):
        weight = 1.0 / np.sqrt(expected)
        size = np.linalg.norm(templates * weight[:, None], axis=0)
        scaled = templates * weight[:, None] / size
        found = np.linalg.lstsq(scaled, counts * weight, rcond=None)[0] / size
        expected = np.maximum(templates @ found, 1.0)
    return np.asarray(found)


def _pearson(counts: Floats, expected: Floats, scale: float) -> float:
    return float(np.sum((counts - expected) ** 2 / (scale * np.maximum(expected, 1e-300))))


def verdict(results: tuple[Decomposition, ...], level: float = 0.01) -> str:
    """Say in one sentence whether the samples decompose.

    A sample fails whose probability is below the level over the number of samples (Bonferroni).
    """
    tested = [result for result in results if result.cells]
    if not tested:
        return "too few events for a test"
    failed = [r for r in tested if r.p_value < level / len(tested)]
    if not failed:
        return "decomposes into structure functions within the statistics of the events"
    names = ", ".join(f"{r.name} (p = {r.p_value:.1e})" for r in failed)
    if len(failed) == len(tested):
        return f"does not decompose, or was made in another flux: {names}"
    return f"does not decompose: {names}"
