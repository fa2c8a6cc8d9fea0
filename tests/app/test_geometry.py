"""The bins of the analysis keep what the events know."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from bayesxs.app.experiment import Experiment
from bayesxs.config import load_card
from bayesxs.detector.operator import exact_cross_section, fold, row_quadrature
from bayesxs.detector.smearing import true_cells
from bayesxs.physics.oscillation import probability

PARAMETERS = ("dm31", "s2_23")

# Twice as fine in each direction as the cells that response is applied to
CELLS = (280, 160)


def information(events: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Return the Fisher information of the shape of binned events, (parameters, parameters)."""
    share = events / events.sum()
    change = slopes / events.sum() - share * slopes.sum(axis=1, keepdims=True) / events.sum()
    kept = share > 0.0
    return (change[:, kept] / share[kept]) @ change[:, kept].T


def test_reconstructed_bins_lose_less_than_two_per_cent_of_sigma():
    """Without smearing, where there is most to lose, against the unbinned likelihood."""
    changes = ['response={type="gaussian"}', "grid.lepton_energies=60", "grid.z=40"]
    experiment = Experiment(load_card(None, "default", changes))
    sample = experiment.samples[0]
    target = experiment.targets[sample]
    geometry = experiment.geometry(target)
    grid, energies = geometry.response.grid, experiment.energies
    cells = true_cells(float(energies.edges[-1]), *CELLS, geometry.lepton_mass)
    quadrature = row_quadrature(cells.lepton_energy, cells.z, energies, geometry.lepton_mass)
    values = np.maximum(exact_cross_section(target.truth, quadrature), 0.0)
    rows = cells.areas[:, None] * fold(quadrature, energies, values)
    rows = rows * experiment.source_flux(sample)

    def survival(point: jax.Array) -> jax.Array:
        parameters = experiment.parameters._replace(**dict(zip(PARAMETERS, point, strict=True)))
        return probability("mu", "mu", parameters, energies.points, experiment.baseline)

    point = jnp.array([getattr(experiment.parameters, name) for name in PARAMETERS])
    events = rows @ np.asarray(survival(point))
    slopes = (rows @ np.asarray(jax.jacfwd(survival)(point))).T

    def binned(weights: np.ndarray) -> np.ndarray:
        bins = [grid.energy_edges, grid.angle_edges]
        return np.histogram2d(cells.lepton_energy, cells.theta, bins, weights=weights)[0].ravel()

    whole = information(events, slopes)
    kept = information(binned(events), np.array([binned(slope) for slope in slopes]))
    errors = [np.sqrt(np.diag(np.linalg.inv(matrix))) for matrix in (whole, kept)]
    loss = errors[1] / errors[0] - 1.0
    assert np.all(loss > 0.0), loss  # what a sum of bins knows, its parts know
    assert np.all(loss < 0.02), loss
