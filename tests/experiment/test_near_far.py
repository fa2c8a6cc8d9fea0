"""Near and far data as one model: against every structure function beside the parameters."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import NamedTuple, cast

import jax.numpy as jnp
import numpy as np
import numpyro
import pytest
from numpyro.infer.util import log_density
from scipy.linalg import cho_factor, cho_solve
from scipy.special import logsumexp
from scipy.stats import chi2

import bayesxs
from bayesxs.errors import InputError
from bayesxs.experiment.uncertainty import NearFit, Posterior
from bayesxs.learning.flux_evidence import bilinear, expand_evidence
from bayesxs.learning.linear_model import LinearData, near_data
from bayesxs.learning.near_term import near_constraint, near_moments
from bayesxs.learning.network import Average

GRID = bayesxs.Grid(2, 18, 18, 10, 10, (12, 8))
PRIORS = {"dm31": bayesxs.Flat(2e-3, 3e-3)}
BENT = 1.5  # true value of the flux nuisance


def nature(x, q2):
    """Return a bracket (1 - x)^3 (1 + t) times sqrt(x) Q^2/(Q^2 + 1), positive everywhere."""
    size = jnp.sqrt(x) * (1.0 - x) ** 3 * q2 / (q2 + 1.0)
    return size[..., None] * jnp.array([1.0, 1.5, 2.0])


class Wave:
    """One nuisance of the flux, which is integrated over on a grid: a wave in ln E."""

    near_far = 0.0

    def modes(self, energies):
        """Return its relative change."""
        return 0.04 * np.sin(5.0 * np.log(energies.points))[None]


class Kept(NamedTuple):
    fit: NearFit
    data: LinearData
    found: Posterior


@dataclasses.dataclass(frozen=True)
class Recorded(bayesxs.GaussianProcess):
    """The Gaussian process, whose linear problem a test looks at."""

    kept: list[Kept] = dataclasses.field(default_factory=list)

    def completed(self, fit, data, found, learned):
        self.kept.append(Kept(fit, data, found))
        return super().completed(fit, data, found, learned)


@pytest.fixture(scope="module")
def experiment(flux) -> bayesxs.Experiment:
    return bayesxs.Experiment(flux, nature, grid=GRID, priors=PRIORS, flux_uncertainty=Wave())


@pytest.fixture(scope="module")
def bent(experiment, flux) -> bayesxs.Experiment:
    """The experiment as it is, with another flux than it is thought to have."""
    wave = np.interp(flux.energy, experiment.energies.points, experiment.flux_modes[0])
    factor = 1.0 + BENT * wave
    true = bayesxs.flux(flux.energy, {"nu_mu": flux(14, flux.energy) * factor})
    return dataclasses.replace(experiment, flux=true, flux_uncertainty=None)


@pytest.fixture(scope="module")
def source() -> Recorded:
    return Recorded(share=0.99999, joint=True)


@pytest.fixture(scope="module")
def learned(experiment, bent, source) -> bayesxs.LearnedCrossSection:
    """What is learned of counts, about the true cross section in place of a network."""
    return learn(experiment, bent, source, 1e7)


def learn(experiment, bent, source, events: float) -> bayesxs.LearnedCrossSection:
    near = bent.near_data(events=events, key=3).detectors["mu"]
    bins = near.geometry.bins
    table = bayesxs.near_counts(
        near.observed.reshape(bins.shape), bins.energy_edges, z=bins.z_edges
    )
    near = experiment.near_data(counts=table).detectors["mu"]
    networks = cast("Average", SimpleNamespace(networks=[nature]))
    target = source.learned(NearFit(experiment, near, networks, lambda *_: None))
    return bayesxs.LearnedCrossSection(
        {"mu": target}, experiment.flux_modes, experiment.energies.points, source.type
    )


@pytest.fixture(scope="module")
def data(bent) -> bayesxs.FarData:
    return bent.simulate(key=5, events=500, binned=True)


@pytest.fixture(scope="module")
def far(experiment, data, learned) -> bayesxs.Likelihood:
    counted = experiment.geometries["mu"].grid.size
    assert data.counts.size == counted
    return experiment.likelihood(data, learned)


THETA = np.linspace(2.45e-3, 2.95e-3, 5)
XI = np.linspace(0.5, 2.5, 7)
STEPS = 8  # of Newton's method


def moments(log_weights: np.ndarray) -> tuple[float, float]:
    """Return mean and sd of dm31 from log densities over (xi, dm31)."""
    weights = np.exp(logsumexp(log_weights, axis=0) - logsumexp(log_weights))
    mean = float(weights @ THETA)
    return mean, float(np.sqrt(weights @ (THETA - mean) ** 2))


def laplace(images: np.ndarray, constant: np.ndarray, counts: np.ndarray) -> float:
    """Return log of the integral over v ~ N(0, 1) of prod (s_i/sum s)^n_i, s = constant + images v.

    By Laplace's method, exact where the likelihood is Gaussian.
    """
    left, sizes, _ = np.linalg.svd(images, full_matrices=False)
    images = left * sizes  # directions of v that no bin sees integrate to one
    v, filled = np.zeros(images.shape[1]), counts > 0.0
    for _ in range(STEPS):
        s = constant + images @ v
        share = images.sum(axis=0) / s.sum()
        slopes = images[filled] / s[filled, None]
        slope = slopes.T @ counts[filled] - counts.sum() * share - v
        bend = np.eye(len(v)) + slopes.T @ (counts[filled, None] * slopes)
        bend -= counts.sum() * np.outer(share, share)
        step = np.linalg.solve(bend, slope)
        most = (-(images[filled] @ step) / s[filled]).max()
        v = v + step * min(1.0, 0.9 / max(most, 1e-9))  # what is expected stays positive
    s = constant + images @ v
    value = counts[filled] @ np.log(s[filled] / s.sum()) - 0.5 * v @ v
    return float(value - 0.5 * np.linalg.slogdet(bend)[1])


@pytest.fixture(scope="module")
def matrices(experiment) -> list[tuple[np.ndarray, np.ndarray]]:
    """Far spectra of values on the nodes, by dm31: nominal, and what a unit of the flux adds."""
    (sample,), mode = experiment.samples, experiment.flux_modes[0]
    source, fluxes = experiment.source_flux(sample), []
    for dm31 in THETA:
        theta = bayesxs.NUFIT_6_0._replace(dm31=dm31)
        flux = source * experiment.oscillation(sample, experiment.energies.points, theta)
        fluxes += [flux, flux * mode]
    found = experiment.geometries["mu"].binned.matrices(fluxes)
    return list(zip(found[::2], found[1::2], strict=True))


def every_function(experiment, kept: Kept, matrices, counts: np.ndarray) -> np.ndarray:
    """Return log p(y, far counts | xi, dm31) p(xi), every structure function integrated out."""
    near = kept.fit.near
    prior, mode = kept.found.follows.prior, experiment.flux_modes[0]
    flux = near.geometry.target.near_flux
    design = np.asarray(kept.data.design)
    change = near.spectrum.matrix(flux * mode)
    slope = kept.data.whiten @ change
    rate = float((change @ kept.found.mean.ravel()).sum())
    covariance = np.asarray(prior(jnp.eye(design.shape[1])))
    covariance = 0.5 * (covariance + covariance.T)
    out = np.empty((len(XI), len(THETA)))
    for i, xi in enumerate(XI):
        a = (design + xi * slope) / (1.0 + xi * rate)
        factor = cho_factor(a @ covariance @ a.T + np.eye(len(a)))
        misfit = kept.data.observed - a @ kept.found.prior_mean
        evidence = -0.5 * misfit @ cho_solve(factor, misfit) - np.log(np.diag(factor[0])).sum()
        gain = covariance @ a.T
        after = kept.found.prior_mean + gain @ cho_solve(factor, misfit)
        sizes, directions = np.linalg.eigh(covariance - gain @ cho_solve(factor, gain.T))
        root = directions * np.sqrt(np.maximum(sizes, 0.0))
        for j, (nominal, bending) in enumerate(matrices):
            both = nominal + xi * bending
            out[i, j] = laplace(both @ root, both @ after, counts) + evidence - 0.5 * xi**2
    return out


def modes_only(far, learned, matrices, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return log p(far counts | xi, dm31) p(xi) from modes, and the near data's part of it."""
    target, out = learned.targets["mu"], np.empty((len(XI), len(THETA)))
    modes = target.modes.reshape(len(target.modes), -1).T
    for j, (nominal, bending) in enumerate(matrices):
        for i, xi in enumerate(XI):
            both = nominal + xi * bending
            mean = target.mean + xi * target.flux[0] + xi**2 * target.flux_pairs[0]
            out[i, j] = laplace(both @ modes, both @ mean.ravel(), counts) - 0.5 * xi**2
    near = np.array([float(far.near_log_prob({"flux_0": xi})) for xi in XI])
    return out, near[:, None]


@pytest.fixture(scope="module")
def counts(data, learned, matrices) -> np.ndarray:
    """The far counts in bins where one event is expected or more.

    In emptier ones linear modes reach zero: the package's logarithm goes on along its tangent
    there, and there is no integral to compare it with.
    """
    nominal, bending = matrices[len(THETA) // 2]
    expected = (nominal + BENT * bending) @ learned.targets["mu"].mean.ravel()
    kept = expected * data.counts.sum() / expected.sum() > 1.0
    assert np.asarray(data.counts)[kept].sum() > 0.9 * data.counts.sum()
    return np.where(kept, np.asarray(data.counts), 0.0)


@pytest.fixture(scope="module")
def reduced(far, learned, matrices, counts) -> tuple[np.ndarray, np.ndarray]:
    return modes_only(far, learned, matrices, counts)


def compare(exact: np.ndarray, found: np.ndarray) -> None:
    """Compare posteriors over (xi, dm31): means and widths of dm31 and of the flux."""
    mean, sd = moments(exact)
    other = moments(found)
    assert other[0] == pytest.approx(mean, abs=0.02 * sd)
    assert other[1] == pytest.approx(sd, rel=0.02)
    weights = [np.exp(logsumexp(w, axis=1) - logsumexp(w)) for w in (exact, found)]
    xi = [float(w @ XI) for w in weights]
    assert xi[1] == pytest.approx(xi[0], abs=0.02)


def test_near_and_far_are_one_posterior_of_every_structure_function(
    experiment, source, counts, matrices, reduced
):
    """Modes and what near data tell of the flux, against all of w integrated out without them.

    Both by Laplace's method, so that nothing fluctuates.
    """
    exact = every_function(experiment, source.kept[0], matrices, counts)
    compare(exact, reduced[0] + reduced[1])


def test_the_far_likelihood_follows_the_flux_to_second_order(
    experiment, far, learned, matrices, data
):
    """As spectra of mean, flux and modes, without what the likelihood folds and compresses.

    Where the cross section of the mean is negative it counts as zero, at the nominal flux.
    """
    target, spectrum = learned.targets["mu"], experiment.geometries["mu"].binned
    lifted = spectrum.of_values(target.mean, clamp=True).rows - spectrum.of_values(target.mean).rows
    (sample,), mode = experiment.samples, experiment.flux_modes[0]
    source = experiment.source_flux(sample)
    eta = 0.2 * np.random.default_rng(3).standard_normal(len(target.modes))
    filled = np.asarray(data.counts) > 0.0

    def own(place: int, xi: float) -> float:
        nominal, bending = matrices[place]
        theta = bayesxs.NUFIT_6_0._replace(dm31=THETA[place])
        flux = source * experiment.oscillation(sample, experiment.energies.points, theta)
        w = target.mean + xi * target.flux[0] + xi**2 * target.flux_pairs[0]
        w += np.tensordot(eta, target.modes, 1)
        expected = (nominal + xi * bending) @ w.ravel() + lifted @ (flux * (1.0 + xi * mode))
        return float(data.counts[filled] @ np.log(expected[filled] / expected.sum()))

    def package(place: int, xi: float) -> float:
        return float(far.log_prob({"dm31": THETA[place]}, jnp.append(jnp.asarray(eta), xi)))

    for place, xi in ((1, 1.0), (2, 2.0)):
        found = package(place, xi) - package(2, 0.5)
        assert found == pytest.approx(own(place, xi) - own(2, 0.5), abs=1e-3)


def test_near_data_inform_on_the_flux(reduced):
    """With a flux that is wrong by 1.5 of its prior widths the joint model finds it."""
    heights = reduced[0] + reduced[1]
    weights = np.exp(logsumexp(heights, axis=1) - logsumexp(heights))
    mean = weights @ XI
    spread = np.sqrt(weights @ (XI - mean) ** 2)
    assert spread < 0.5
    assert abs(mean - BENT) < 3.0 * spread


def test_the_model_is_prior_far_and_near_in_one(experiment, far):
    values = {
        "dm31": jnp.array(2.45e-3),
        "nuisance": jnp.linspace(-0.5, 0.8, len(far.nuisances)),
    }
    whole = log_density(far.model(PRIORS), (), {}, values)[0]
    without = log_density(dataclasses.replace(far, near=()).model(PRIORS), (), {}, values)[0]
    near = float(far.near_log_prob(values["nuisance"]))
    assert float(whole - without) == pytest.approx(near, rel=1e-10)
    assert abs(near - float(far.near_log_prob())) > 0.01

    def own():
        numpyro.deterministic("far", far.log_prob({}, far.sample_nuisances()))

    eta = {n.name: v for n, v in zip(far.nuisances, values["nuisance"], strict=True)}
    standard = -0.5 * sum(v**2 + np.log(2.0 * np.pi) for v in values["nuisance"])
    assert float(log_density(own, (), {}, eta)[0]) == pytest.approx(
        float(standard) + near, rel=1e-10
    )


def test_what_was_learned_jointly_is_saved_and_read(experiment, far, learned, data, tmp_path):
    learned.save(tmp_path / "xsec.nc")
    again = experiment.likelihood(
        data, bayesxs.read_cross_section(tmp_path / "xsec.nc", experiment)
    )
    eta = {"flux_0": 1.2, "cross_section_0": -0.4}
    assert float(again.near_log_prob(eta)) == float(far.near_log_prob(eta))
    assert float(again.log_prob({}, eta)) == float(far.log_prob({}, eta))


def test_the_bootstrap_takes_near_data(far):
    found = bayesxs.bootstrap(far, PRIORS, replicas=4, progress=False)
    assert found["bootstrap"]["dm31"].shape == (4,)


def test_the_flux_found_from_near_data_covers(experiment, source, learned):
    """Fluxes and counts of 12 experiments: chi2 of what near data and prior find, false alarm 1e-3.

    The cross section is no draw of its prior, and so the bound is that of chi2 above only.
    """
    fit, _, found = source.kept[0]
    near, mode = fit.near, experiment.flux_modes[0]
    flux = near.geometry.target.near_flux
    change = near.spectrum.matrix(flux * mode)
    rate = [float((change @ found.mean.ravel()).sum())]
    truth = near.spectrum.of_function(near.geometry.true_functions).rows
    expected = truth @ flux
    data = near_data(
        near.matrix, expected, expected, fit.nodes, events=1e6, discretization=2e-4, rank=150
    )
    rng = np.random.default_rng(2)
    fluxes, seen = rng.standard_normal(12), []
    for xi in fluxes:
        shares = truth @ (flux * (1.0 + xi * mode))
        counts = rng.poisson(1e6 * shares / shares.sum())
        seen.append(data.whiten @ (counts / counts.sum()))
    many = data._replace(observed=jnp.asarray(np.transpose(seen)))  # a column each
    own = bilinear(many, found.follows.prior, found.prior_mean, [data.whiten @ change], rate)
    total = 0.0
    for xi, observed in zip(fluxes, own.evidence.observed.T, strict=True):
        term = expand_evidence(own.evidence._replace(observed=observed))
        known = near_constraint([term], 1)
        total += float((known.mean[0] - xi) ** 2 * known.precision[0, 0])
    assert total < chi2.ppf(0.999, 12)
    mean, sd = near_moments([term])
    assert mean[0] == pytest.approx(float(known.mean[0]), abs=0.3 * sd[0])
    assert sd[0] == pytest.approx(float(known.root[0, 0]), rel=0.2)


def test_a_shared_response_is_refused(experiment, learned, source):
    detector = bayesxs.GaussianDetector(correlated=True)
    shared = dataclasses.replace(experiment, detector=detector)
    near = shared.near_data(events=1e6, key=3)
    fit, data, found = source.kept[0]
    other = fit._replace(experiment=shared, near=near.detectors["mu"])
    with pytest.raises(InputError, match="joint"):
        bayesxs.GaussianProcess(joint=True).completed(other, data, found, learned.targets["mu"])
