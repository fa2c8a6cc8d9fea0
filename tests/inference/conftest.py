"""A far detector with structure functions in closed form, and a few hundred events in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.typing import ArrayLike

from bayesxs.constants import MUON_MASS
from bayesxs.detector.density import Events, FoldedRows, Sample, simulate_events
from bayesxs.detector.exact import exact_response
from bayesxs.detector.grid import EnergyGrid, energy_grid
from bayesxs.detector.operator import row_quadrature, total_quadrature
from bayesxs.inference.channel import FarChannel, far_channel
from bayesxs.inference.compression import probability_span
from bayesxs.inference.far_data import FarBins, FarData
from bayesxs.inference.folded import Folded, Oscillation
from bayesxs.inference.likelihood import Likelihood, far_likelihood
from bayesxs.inference.model import far_detector_model
from bayesxs.inference.nuisances import Nuisance
from bayesxs.inference.priors import Flat, Prior
from bayesxs.inference.pseudo_experiments import BinnedExperiment
from bayesxs.inference.sampling import Draws, NutsSampler, SamplerSettings
from bayesxs.inputs.flux import Flux, embedded_dune_flux
from bayesxs.physics.nufit import nufit_6_0
from bayesxs.physics.oscillation import OscillationParameters, probability
from support.structure_functions import Smooth

RANGE = (0.5, 5.0)


@pytest.fixture(scope="session")
def flux() -> Flux:
    """DUNE near-detector flux, neutrino mode."""
    return embedded_dune_flux("neutrino")


@pytest.fixture(scope="session")
def energies(flux: Flux) -> EnergyGrid:
    """Shared energies, 0.5 to 5 GeV."""
    return energy_grid(flux.energy, *RANGE, order=2)


@pytest.fixture(scope="session")
def nature() -> OscillationParameters:
    """True oscillation parameters: NuFit-6.0."""
    return nufit_6_0()


@pytest.fixture(scope="session")
def response(energies: EnergyGrid) -> Callable[..., FoldedRows]:
    """Fold the closed-form cross section at given (E_l, z) for a sample's lepton."""

    def build(sample: Sample, lepton_energy: ArrayLike, z: ArrayLike) -> FoldedRows:
        mass = sample.lepton_mass
        rows = row_quadrature(lepton_energy, z, energies, mass)
        total = exact_response(Smooth(), total_quadrature(energies, mass), energies)
        return FoldedRows(
            exact_response(Smooth(), rows, energies), total.sum(axis=1) * energies.weights
        )

    return build


@pytest.fixture(scope="session")
def channel_of(
    flux: Flux, energies: EnergyGrid, nature: OscillationParameters
) -> Callable[..., FarChannel]:
    """Fold a response with the flux of a sample, compressed to what the priors allow."""

    def build(
        sample: Sample,
        response: FoldedRows,
        priors: Mapping[str, Prior],
        weights: ArrayLike | None = None,
        *,
        compress: bool = True,
    ) -> FarChannel:
        points = energies.points
        if compress:
            span = probability_span(Oscillation(sample), points, priors, nature)
        else:
            span = jnp.eye(len(points))
        ones = np.ones(len(response.rows))
        return far_channel(
            Folded.plain(response, flux(sample.flux_id, points)),
            points,
            ones if weights is None else weights,
            Oscillation(sample),
            span,
        )

    return build


@pytest.fixture(scope="session")
def priors() -> dict[str, Prior]:
    """Flat priors over both octants."""
    return {"dm31": Flat(2.2e-3, 2.9e-3), "s2_23": Flat(0.3, 0.7)}


@pytest.fixture(scope="session")
def events(flux: Flux, nature: OscillationParameters) -> Events:
    """600 muons from oscillated muon neutrinos."""
    survival = jax.jit(lambda energy: probability("mu", "mu", nature, energy))

    def oscillated(energy: np.ndarray) -> np.ndarray:
        return flux(14, energy) * np.asarray(survival(energy))

    return simulate_events(jax.random.key(1), Smooth(), oscillated, RANGE, MUON_MASS, 600)


@pytest.fixture(scope="session")
def channel(
    events: Events,
    priors: dict[str, Prior],
    response: Callable[..., FoldedRows],
    channel_of: Callable[..., FarChannel],
) -> FarChannel:
    """The events, folded with their own cross section."""
    folded = response(Sample(), events.lepton_energy, events.z)
    return channel_of(Sample(), folded, priors)


@pytest.fixture(scope="session")
def far_draws(
    channel: FarChannel, priors: dict[str, Prior], nature: OscillationParameters
) -> Draws:
    """NUTS draws from the posterior of the events, the octant marginalised."""

    def model(channels: list[FarChannel]) -> None:
        far_detector_model(channels, priors, nature)

    settings = SamplerSettings(chains=4, warmup=500, draws=1500, record_every=500)
    start = {"dm31": jnp.asarray(nature.dm31), "s2_23_offset": jnp.array(-0.03)}
    return NutsSampler(model, settings, start).run(([channel],), jax.random.key(3))


@pytest.fixture(scope="session")
def experiment(response, events, flux, energies, nature, priors) -> BinnedExperiment:
    """Sixty bins, and two nuisances: one in the response, one in the flux."""
    rows = response(Sample(), events.lepton_energy[:60], events.z[:60]).rows
    tilt = 0.1 * np.linspace(-1.0, 1.0, 60)[:, None] * rows
    shapes = np.zeros((2, len(energies.points)))
    shapes[1] = 0.1 * np.sin(energies.points)
    oscillation, points = Oscillation(Sample()), energies.points
    span = probability_span(oscillation, points, priors, nature, flux_modes=shapes)
    modes = [FoldedRows(tilt, tilt.sum(axis=0)), None]
    folded = Folded(FoldedRows(rows, rows.sum(axis=0)), modes, flux(14, points), shapes)
    channel = far_channel(folded, points, np.ones(60), oscillation, span)
    settings = SamplerSettings(chains=4, warmup=10, draws=10)
    return BinnedExperiment((channel,), (2000,), priors, nature, settings, 1, 7)


@pytest.fixture(scope="session")
def many(experiment: BinnedExperiment) -> BinnedExperiment:
    """Enough events for every interval to be Gaussian; posteriors long enough to be measured."""
    settings = SamplerSettings(4, 100, 300, 0.8, record_every=100, tree_depth=4)
    return replace(experiment, sizes=(100_000,), settings=settings)


class ToyRows(NamedTuple):
    """A sample of the toy likelihood: energies, T[row, E] of events and bins, changes by a unit."""

    energy: np.ndarray
    response: np.ndarray
    bins: np.ndarray
    mode: np.ndarray
    flux_mode: np.ndarray


@pytest.fixture(scope="session")
def toy_rows() -> tuple[ToyRows, ...]:
    """Sixty muons and twenty electrons, seen as Gaussians about their neutrino's energy."""
    energy = np.linspace(0.6, 5.0, 40)
    rng = np.random.default_rng(0)

    def rows(seen: np.ndarray) -> np.ndarray:
        return np.exp(-0.5 * ((energy - 1.1 * seen[:, None]) / 0.3) ** 2)

    return tuple(
        ToyRows(
            energy,
            rows(rng.uniform(0.7, 4.3, number)),
            rows(np.linspace(0.8, 4.2, 8)),
            0.1 * np.log(energy),
            0.1 * np.sin(energy),
        )
        for number in (60, 20)
    )


@pytest.fixture(scope="session")
def toy_likelihood(toy_rows, nature, priors) -> Callable[..., Likelihood]:
    """Make a likelihood of up to two samples, two nuisances, compressed for a box."""
    samples = (Sample(), Sample(flavor_out="e"))
    edges = {"lepton_energy": jnp.linspace(0.5, 5.0, 6), "cos_theta": jnp.array([0.0, 0.8, 1.0])}
    cells = jnp.array([7, 1, 2, 0, 4, 9, 8, 3])

    def fold(sample: Sample, toy: ToyRows, rows: np.ndarray, span: np.ndarray) -> FarChannel:
        one = np.ones(len(toy.energy))
        changes = np.stack([0.0 * one, toy.flux_mode])
        modes = [FoldedRows(rows * toy.mode, toy.mode), None]
        parts = Folded(FoldedRows(rows, one), modes, one, changes)
        return far_channel(parts, toy.energy, np.ones(len(rows)), Oscillation(sample), span)

    def make(box: Mapping[str, tuple[float, float]] | None = None, number: int = 2) -> Likelihood:
        box = {name: (p.low, p.high) for name, p in priors.items()} if box is None else box
        ranges = {name: Flat(*ends) for name, ends in box.items()}
        whole = np.eye(len(toy_rows[0].energy))
        channels, exact, bins = [], [], []
        for sample, toy in zip(samples[:number], toy_rows[:number], strict=True):
            modes = np.stack([0.0 * toy.flux_mode, toy.flux_mode])
            span = probability_span(Oscillation(sample), toy.energy, ranges, nature, modes)
            channels.append(fold(sample, toy, toy.response, np.asarray(span)))
            exact.append(fold(sample, toy, toy.response, whole))
            bins.append(FarBins(fold(sample, toy, toy.bins, whole), edges, cells))
        sizes = [len(toy.response) for toy in toy_rows[:number]]
        total = sum(sizes)
        which = np.repeat(np.arange(number), sizes)
        data = FarData(np.arange(total), np.linspace(0.5, 1.0, total), which)
        return far_likelihood(
            channels,
            exact,
            bins,
            data,
            box=box,
            parameters=nature,
            sizes=sizes,
            nuisances=(Nuisance("cross_section_0", "cross_section"), Nuisance("flux_0", "flux")),
        )

    return make
