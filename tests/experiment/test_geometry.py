"""The bins of the analysis keep what the events know."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from bayesxs.cards.build import build_experiment
from bayesxs.cards.card import load_card
from bayesxs.cards.overrides import parse_overrides
from bayesxs.constants import MUON_MASS
from bayesxs.detector.exact import exact_cross_section
from bayesxs.detector.operator import fold, row_quadrature
from bayesxs.detector.reco import true_cells
from bayesxs.experiment.channels import Channels
from bayesxs.inference.bootstrap import bootstrap
from bayesxs.inference.priors import Flat
from bayesxs.physics.cross_section import differential_cross_section
from bayesxs.physics.kinematics import lepton_from_invariants, x_min, y_range
from bayesxs.physics.oscillation import probability
from bayesxs.progress import Reporter
from bayesxs.runs.pipeline import Analysis, run
from bayesxs.runs.results import projected_shares
from bayesxs.storage.run_folder import RunFolder

PARAMETERS = ("dm31", "s2_23")

# Finer in each direction than the cells that response is applied to, which cost little themselves
CELLS = (180, 100)


def information(events: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Return the Fisher information of the shape of binned events, (parameters, parameters)."""
    share = events / events.sum()
    change = slopes / events.sum() - share * slopes.sum(axis=1, keepdims=True) / events.sum()
    kept = share > 0.0
    return (change[:, kept] / share[kept]) @ change[:, kept].T


def test_reconstructed_bins_lose_less_than_two_per_cent_of_sigma():
    """Without smearing, where there is most to lose, against the unbinned likelihood."""
    changes = ['response={type="gaussian"}', "grid.lepton_energies=60", "grid.z=40"]
    experiment = build_experiment(load_card(None, "default", parse_overrides(changes)))
    sample = experiment.samples[0]
    target = experiment.targets[sample]
    geometry = experiment.geometry(target)
    grid, energies = geometry.grid, experiment.energies
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


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Channels, Channels]:
    """The same 6200 events, taken one by one and counted in bins."""
    folder = tmp_path_factory.mktemp("events") / "run"
    cards = [load_card(None, "default", {"far.binned_above": n}) for n in (50_000, 0)]
    run(cards[0], folder, stages=("simulate",), progress=False)
    opened = RunFolder.view(folder)
    one_by_one, counted = (Analysis(card, opened, Reporter(False)).channels for card in cards)
    return one_by_one, counted


def test_bins_hold_what_falls_into_them(simulated):
    """The sum of all bins is the total cross section, known from a quadrature of its own."""
    channels = simulated[1]
    experiment = channels.experiment
    sample = experiment.samples[0]
    geometry = experiment.geometry(experiment.targets[sample])
    bins = geometry.binned.of_function(geometry.target.truth)
    flux = experiment.source_flux(sample) * experiment.oscillation(
        sample, experiment.energies.points
    )
    assert bins.total @ flux == pytest.approx(geometry.true_total @ flux, rel=1e-4)
    counts = channels.of_events("truth")[0].weights
    assert counts.sum() == len(channels.events.event)
    expected = bins.rows @ flux
    filled = geometry.grid.count(
        channels.events["lepton_energy"], np.arccos(channels.events["cos_theta"])
    )
    several = expected / expected.sum() * filled.sum() > 5.0
    rest = [a[~several].sum() for a in (expected, filled)]
    share = np.append(expected[several], rest[0]) / expected.sum()
    found = stats.chisquare(np.append(filled[several], rest[1]), share * filled.sum())
    assert found.pvalue > 1e-3  # false alarms: 1 in 1000


def test_bins_and_single_events_give_the_same_estimate(simulated):
    """Bins lose 0.6 % of sigma, so the estimates differ by 0.11 sigma (one sd); 4 are allowed."""
    estimates, errors = [], []
    for channels in simulated:
        data, experiment = channels.of_events("truth"), channels.experiment
        start = {name: float(getattr(experiment.parameters, name)) for name in PARAMETERS}
        low = {"dm31": Flat(2e-3, 3e-3), "s2_23": Flat(0.0, 0.5)}  # one octant
        fit = bootstrap(jax.random.key(0), data, low, experiment.parameters, start, 20)
        estimates.append(fit.mle["dm31"])
        errors.append(np.std(fit.replicas["dm31"]))
    assert abs(estimates[1] - estimates[0]) < 4.0 * 0.11 * errors[0]


ANTINEUTRINO = ('beam.mode="antineutrino"', "sample=[{antineutrino=true}]")


@pytest.mark.parametrize("form", ["collinear", "helicity"])
def test_projection_adds_what_is_negative(form):
    """The paper's form is negative for antineutrinos; quarks as T+ and antiquarks as T- are not."""
    experiment = build_experiment(
        load_card(None, "quick", parse_overrides([*ANTINEUTRINO, f'nature.form="{form}"']))
    )
    (target,) = experiment.unique_targets
    geometry = experiment.geometry(target)
    shares = projected_shares(experiment)
    assert (shares == {}) == (form == "helicity")
    # The rates of the two, by quadrature over x and y instead of the lepton's energy and angle
    energy = experiment.energies.points[:, None, None]
    points, weights = np.polynomial.legendre.leggauss(40)
    u, area = 0.5 * (points + 1.0), 0.25 * np.outer(weights, weights)
    low = np.cbrt(x_min(energy, MUON_MASS))
    root = low + (1.0 - low) * u[:, None]
    bottom, top = y_range(energy, root**3, MUON_MASS)
    y = bottom + (top - bottom) * u
    at = (energy, *lepton_from_invariants(energy, root**3, y, MUON_MASS))
    area = area * (1.0 - low) * 3.0 * root**2 * (top - bottom) * energy * y
    flux = (target.near_flux * experiment.energies.weights)[:, None, None]
    rates = [
        float(
            np.sum(
                flux
                * area
                * jax.jit(differential_cross_section, static_argnums=(0, 4))(sf, *at, MUON_MASS)
            )
        )
        for sf in (target.truth.original, target.truth)
    ]
    expected = 1.0 - rates[0] / rates[1]
    assert geometry.projected_share(target.truth) == pytest.approx(expected, rel=0.02, abs=1e-9)
    assert geometry.true_cross_section.min() >= -1e-13 * geometry.true_cross_section.max()
