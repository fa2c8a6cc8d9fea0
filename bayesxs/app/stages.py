"""The stages of a run: each reads what earlier ones left in the folder and writes its own files."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayesxs.app.experiment import Experiment, Geometry
from bayesxs.app.learn import NETWORK
from bayesxs.app.netcdf import read_dataset, write_netcdf
from bayesxs.app.progress import Reporter
from bayesxs.app.seeds import (
    BOOTSTRAP_KEY,
    OCTANT_KEY,
    SAMPLER_KEY,
    SIMULATION_KEY,
    stage_key,
)
from bayesxs.app.weights import conditions, read_networks
from bayesxs.detector.density import Response, Sample, simulate_events
from bayesxs.detector.grid import Float
from bayesxs.errors import InputError
from bayesxs.inference import bootstrap as boot
from bayesxs.inference.channel import FarChannel, far_channel, probability_span
from bayesxs.inference.model import far_detector_model
from bayesxs.inference.posterior import add_bootstrap, posterior_tree
from bayesxs.inference.priors import crosses_octants
from bayesxs.inference.sampling import NutsSampler, SamplerSettings
from bayesxs.physics.kinematics import cosine_from_z, z_from_cosine
from bayesxs.store import RunFolder, Stage

EVENTS = "events.nc"
CHAINS, ESTIMATES = "chains.nc", "bootstrap.nc"
KINDS = ("truth", "learned")

# Density in 1/GeV of an event that a learned cross section says cannot happen
EMPTY_DENSITY = 1e-6


# simulate


def simulate_stage(experiment: Experiment, stage: Stage, reporter: Reporter) -> None:
    """Draw far-detector events from the true cross section's continuous density, or read them."""
    card = experiment.card
    pieces = []
    if experiment.observed is not None:
        energy, cosine = experiment.observed
        mass = experiment.samples[0].lepton_mass
        pieces.append(_event_columns(0, energy, z_from_cosine(energy, cosine, mass), mass))
    else:
        rates = []
        for sample in experiment.samples:
            total = experiment.geometry(experiment.targets[sample]).true_total
            flux = experiment.source_flux(sample)
            rates.append(
                total @ (flux * experiment.oscillation(sample, experiment.energies.points))
            )
        shares = np.array(rates) / np.sum(rates)
        for number, sample in enumerate(experiment.samples):
            events = simulate_events(
                stage_key(experiment.seed, SIMULATION_KEY, number),
                experiment.targets[sample].truth,
                _oscillated(experiment, sample),
                (card.beam.energy_min_GeV, card.beam.energy_max_GeV),
                sample.lepton_mass,
                round(card.far.events * shares[number]),
            )
            columns = _event_columns(number, events.lepton_energy, events.z, sample.lepton_mass)
            pieces.append(columns | {"energy": events.energy})
    columns = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    data = xr.Dataset({name: ("event", values) for name, values in columns.items()})
    data.attrs["source"] = card.far.file or "simulated with the true cross section"
    write_netcdf(stage.output(EVENTS), data)
    reporter.line(f"  {len(data.event)} events")


def _oscillated(experiment: Experiment, sample: Sample) -> Callable[[Float], Float]:
    def flux(energy: Float) -> Float:
        source = experiment.flux(sample.flux_id, energy)
        return source * experiment.oscillation(sample, energy)

    return flux


def _event_columns(number: int, lepton_energy: Float, z: Float, mass: float) -> dict[str, Any]:
    return {
        "sample": np.full(len(z), number, dtype=np.int8),
        "lepton_energy": lepton_energy,
        "z": z,
        "cos_theta": cosine_from_z(lepton_energy, z, mass),
    }


# far-detector channels


class Channels:
    """Far-detector data folded with the true and the learned cross section."""

    def __init__(self, experiment: Experiment, folder: RunFolder) -> None:
        """Read what the run has learned and observed."""
        self.experiment = experiment
        targets = experiment.unique_targets
        names = [t.name for t in targets]
        self.networks = read_networks(folder.path / NETWORK, names, conditions(experiment.card))
        self.values = {
            t.name: experiment.geometry(t).node_values(self.networks[t.name]) for t in targets
        }
        self.events = read_dataset(folder.path / EVENTS)
        self._spans: dict[Sample, jax.Array] = {}

    @cache  # noqa: B019 - lives as long as its run
    def of_events(self, kind: str) -> list[FarChannel]:
        """Return the channels of the observed events."""
        out = []
        for number, sample in enumerate(self.experiment.samples):
            own = self.events.isel(event=self.events["sample"].values == number)
            e_l, z = own["lepton_energy"].values, own["z"].values
            response = self.of_rows(kind, sample, e_l, z)
            out.append(self._channel(kind, sample, response, np.ones(len(z))))
        return out

    def of_rows(self, kind: str, sample: Sample, lepton_energy: Float, z: Float) -> Response:
        """Return the response of the true or the learned cross section at given (E_l, z)."""
        geometry = self._geometry(sample)
        if kind == "truth":
            return geometry.true_events(lepton_energy, z)
        return geometry.learned_events(lepton_energy, z, self._values(sample))

    @cache  # noqa: B019 - lives as long as its run
    def of_asimov(self, kind: str) -> list[FarChannel]:
        """Return the channels of the expected, unfluctuated data.

        Expected counts and model share the bins' own normalisation, so that the likelihood of the
        true cross section peaks at the true parameters exactly.
        """
        sizes = np.bincount(self.events["sample"].values, minlength=len(self.experiment.samples))
        out = []
        for sample, size in zip(self.experiment.samples, sizes, strict=True):
            geometry = self._geometry(sample)
            rows = geometry.true_bins.rows
            oscillation = self.experiment.oscillation(sample, self.experiment.energies.points)
            expected = rows @ (self.experiment.source_flux(sample) * oscillation)
            if kind == "learned":
                rows = geometry.learned_bins(self._values(sample)).rows
            response = Response(rows, geometry.bins.areas @ rows)
            out.append(self._channel(kind, sample, response, size * expected / expected.sum()))
        return out

    def _geometry(self, sample: Sample) -> Geometry:
        return self.experiment.geometry(self.experiment.targets[sample])

    def _values(self, sample: Sample) -> Float:
        return self.values[self.experiment.targets[sample].name]

    def _channel(self, kind: str, sample: Sample, response: Response, weights: Float) -> FarChannel:
        experiment = self.experiment
        steps = experiment.card.oscillation.newton_steps
        energies, flux = experiment.energies.points, experiment.source_flux(sample)
        if sample not in self._spans:
            self._spans[sample] = probability_span(
                sample,
                energies,
                experiment.baseline,
                experiment.priors,
                experiment.parameters,
                steps,
            )
        dead = ((response.rows @ flux) <= 0.0) & (weights > 0.0)
        if kind == "truth" and dead.any():
            where = experiment.card.far.file or "events"
            low, high = energies[[0, -1]]
            allowed = f"no neutrino between {low:.2f} and {high:.2f} GeV makes such a lepton"
            raise InputError.at(where, "event", int(np.argmax(dead)), allowed)
        # Where a learned cross section vanishes an event has no density to take the logarithm of.
        # It is given one that does not depend on the parameters: such an event tells nothing.
        response.rows[dead] = EMPTY_DENSITY * response.total
        return far_channel(
            response,
            flux,
            energies,
            weights,
            sample,
            experiment.baseline,
            self._spans[sample],
            steps,
        )


# sample


def sample_stage(
    experiment: Experiment, channels: Channels, stage: Stage, reporter: Reporter
) -> None:
    """Sample the posteriors of true and learned cross section, on the events and on Asimov data."""
    card = experiment.card
    settings = SamplerSettings(
        card.sampler.chains, card.sampler.warmup, card.sampler.draws, card.sampler.target_accept
    )
    marginalize = card.sampler.octant == "marginalized"

    def model(data: list[FarChannel]) -> None:
        far_detector_model(data, experiment.priors, experiment.parameters, marginalize)

    start = {n: jnp.asarray(getattr(experiment.parameters, n)) for n in experiment.priors}
    if marginalize and crosses_octants(experiment.priors):
        start["s2_23_offset"] = start.pop("s2_23") - 0.5
    trees = {}
    seconds = {}
    for data_number, (data, make) in enumerate(
        (("events", channels.of_events), ("asimov", channels.of_asimov))
    ):
        sampler = NutsSampler(model, settings, start)
        for kind_number, kind in enumerate(KINDS):
            clock = time.perf_counter()
            label = f"{data}-{kind}"
            kept = stage.load_checkpoint(label)
            with reporter.bar(
                f"sampling {data}, {kind}", settings.warmup + settings.draws
            ) as update:

                def record(done: int, state: dict[str, np.ndarray], label: str = label) -> None:
                    stage.save_checkpoint(state, label=label)
                    update(done)

                draws = sampler.run(
                    (make(kind),),
                    stage_key(experiment.seed, SAMPLER_KEY, data_number),
                    resume=None if kept is None else kept[0],
                    record=record,
                )
            trees[f"{data}_{kind}"] = posterior_tree(
                draws, stage_key(experiment.seed, OCTANT_KEY, data_number, kind_number)
            )
            seconds[label] = time.perf_counter() - clock
    stage.notes["sampling_seconds"] = seconds
    write_netcdf(
        stage.output(CHAINS),
        xr.DataTree.from_dict(
            {
                f"{name}/{group}": node.dataset
                for name, t in trees.items()
                for group, node in t.children.items()
            }
        ),
    )


# bootstrap


def bootstrap_stage(
    experiment: Experiment, channels: Channels, stage: Stage, reporter: Reporter
) -> None:
    """Bootstrap the maximum-likelihood estimates of both cross sections on the same resamplings."""
    replicas = experiment.card.bootstrap.replicas
    trees = {}
    for kind in KINDS:
        with reporter.bar(f"bootstrap, {kind}", replicas) as update:
            tree = xr.DataTree()
            result = boot.bootstrap(
                stage_key(experiment.seed, BOOTSTRAP_KEY),
                channels.of_events(kind),
                experiment.priors,
                experiment.parameters,
                {name: float(getattr(experiment.parameters, name)) for name in experiment.priors},
                replicas,
                update,
            )
        add_bootstrap(tree, result)
        trees[kind] = tree["bootstrap"].dataset
        failed = int((~result.converged).sum())
        if failed:
            reporter.line(f"  warning: {failed} of {replicas + 1} fits ({kind}) did not converge")
    write_netcdf(stage.output(ESTIMATES), xr.DataTree.from_dict(trees))
