"""The stages of a run: each reads what earlier ones left in the folder and writes its own files."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayesxs.app.experiment import Experiment, Geometry, Target, architecture, schedule
from bayesxs.app.netcdf import read_dataset, write_netcdf
from bayesxs.app.progress import Reporter
from bayesxs.app.weights import read_networks, write_networks
from bayesxs.atomic import atomic_path, write_csv
from bayesxs.detector.density import Response, Sample, simulate_events
from bayesxs.detector.grid import Float
from bayesxs.detector.operator import fold
from bayesxs.errors import InputError
from bayesxs.inference import bootstrap as boot
from bayesxs.inference.model import (
    FarChannel,
    crosses_octants,
    far_channel,
    far_detector_model,
    probability_span,
)
from bayesxs.inference.posterior import add_bootstrap, posterior_tree
from bayesxs.inference.sampling import NutsSampler, SamplerSettings
from bayesxs.inputs.events import load_events
from bayesxs.learning.network import Network, create_network
from bayesxs.learning.training import near_problem, train
from bayesxs.physics.kinematics import cosine_from_z, z_from_cosine
from bayesxs.store import RunFolder, Stage

NETWORK, TRAINING, EVENTS = "network.safetensors", "training.csv", "events.nc"
CHAINS, ESTIMATES = "chains.nc", "bootstrap.nc"
KINDS = ("truth", "learned")


def stage_key(experiment: Experiment, stage: int, *more: int) -> jax.Array:
    """Return the random key of a stage: seeds never depend on which stages ran before."""
    key = jax.random.key(experiment.card.seed)
    for number in (stage, *more):
        key = jax.random.fold_in(key, number)
    return key


def conditions(experiment: Experiment) -> dict[str, object]:
    """Return what pinned weights must have been trained for."""
    beam = experiment.card.beam
    return {
        "beam": beam.mode,
        "energy_min_GeV": beam.energy_min_GeV,
        "energy_max_GeV": beam.energy_max_GeV,
    }


# train


def train_stage(experiment: Experiment, stage: Stage, reporter: Reporter) -> None:
    """Learn every target's structure functions, or take over pinned weights."""
    card = experiment.card
    path = stage.output(NETWORK)
    if card.network.weights:
        source = Path(card.network.weights)
        names = [t.name for t in experiment.unique_targets]
        read_networks(source, names, conditions(experiment))  # refuse what does not fit
        with atomic_path(path) as temporary:
            temporary.write_bytes(source.read_bytes())
        return
    networks: dict[str, list[Network]] = {}
    records: list[dict[str, Any]] = []
    for number, target in enumerate(experiment.unique_targets):
        networks[target.name] = [
            _train_member(experiment, target, number, member, stage, reporter, records)
            for member in range(card.network.members)
        ]
    write_networks(path, networks, architecture(card), conditions(experiment))
    columns = {key: [record[key] for record in records] for key in records[0]}
    write_csv(stage.output(TRAINING), columns)


def _train_member(
    experiment: Experiment,
    target: Target,
    number: int,
    member: int,
    stage: Stage,
    reporter: Reporter,
    records: list[dict[str, Any]],
) -> Network:
    """Train one network, from its checkpoint if there is one."""
    card = experiment.card
    clock = time.perf_counter()
    geometry = experiment.geometry(target)
    matrix = geometry.operator.near_matrix(target.near_flux)
    compress = card.network.precision == "float64"
    problem = near_problem(
        matrix,
        geometry.true_bins.rows @ target.near_flux,
        geometry.nodes,
        floor=card.training.floor if card.training.weighting == "relative" else None,
        rank=700 if compress else None,
    )
    judge = Judge(geometry, {"near": target.near_flux})
    stage.notes["operator_seconds"] = time.perf_counter() - clock
    plan = schedule(card)
    label = f"{target.name}-{member}"
    resume = None
    kept = stage.load_checkpoint(label)
    if kept is not None:
        arrays, _ = kept
        resume = {k[6:]: v for k, v in arrays.items() if k.startswith("state/")}
        names = [k[4:] for k in arrays if k.startswith("log/")]
        records += [
            {name: arrays[f"log/{name}"][i].item() for name in names}
            for i in range(len(arrays[f"log/{names[0]}"]))
        ]
    own: list[dict[str, Any]] = [
        r for r in records if r["target"] == number and r["member"] == member
    ]
    clock, trained_before = time.perf_counter(), own[-1]["seconds"] if own else 0.0
    network = create_network(architecture(card), stage_key(experiment, 0, number, member))
    total = plan.adam_steps + plan.lbfgs_steps
    with reporter.bar(f"training {label}", total) as update:

        def record(step: int, loss: float, best: Network, state: dict[str, np.ndarray]) -> None:
            seconds = trained_before + time.perf_counter() - clock
            entry = {"target": number, "member": member, "step": step, "loss": loss}
            entry |= judge.errors(best) | {"seconds": seconds}
            records.append(entry)
            own.append(entry)
            log = {f"log/{k}": np.array([r[k] for r in own]) for k in entry}
            stage.save_checkpoint({f"state/{k}": v for k, v in state.items()} | log, label=label)
            update(step, f"near rel-L2 {entry['near_rel_l2']:.1e}")

        return train(network, problem, plan, resume=resume, record=record)


class Judge:
    """Compare a learned cross section with the true one, near, far and in three dimensions."""

    def __init__(self, geometry: Geometry, fluxes: Mapping[str, Float]) -> None:
        """Fold the truth once.

        Args:
            geometry: of the target.
            fluxes: what to compare densities under, at the shared energies, by name.
        """
        self.geometry = geometry
        self.fluxes = fluxes
        self.true_spectra = {k: _unit(self.geometry.true_bins.rows @ f) for k, f in fluxes.items()}
        quadrature = self.geometry.quadrature
        self.weights = quadrature.weights
        self.true_3d = self._normalized(self.geometry.true_cross_section)

    def _normalized(self, cross_section: Float) -> Float:
        return cross_section / (self.weights @ cross_section)

    def errors(self, network: Any) -> dict[str, float]:
        """Return relative L2 errors of the normalised densities, in two and three dimensions.

        The latter is the test loss of arXiv:2412.16303, Eqs. 7-8, as a norm relative to the
        truth's.
        """
        values = self.geometry.node_values(network)
        cross_section = self.geometry.operator.cross_section(values)
        model_3d = self._normalized(cross_section)
        response = fold(self.geometry.quadrature, self.geometry.energies, cross_section)
        errors = {}
        for name, flux in self.fluxes.items():
            true = self.true_spectra[name]
            difference = _unit(response @ flux) - true
            errors[f"{name}_rel_l2"] = float(np.linalg.norm(difference) / np.linalg.norm(true))
        squared = self.weights @ (model_3d - self.true_3d) ** 2
        return errors | {
            "cross_section_3d_rel_l2": float(np.sqrt(squared / (self.weights @ self.true_3d**2))),
            "negative_fraction": float(np.mean(model_3d < 0.0)),
        }


def _unit(spectrum: Float) -> Float:
    return spectrum / spectrum.sum()


# simulate


def simulate_stage(experiment: Experiment, stage: Stage, reporter: Reporter) -> None:
    """Draw far-detector events from the true cross section's continuous density, or read them."""
    card = experiment.card
    pieces = []
    if card.far.file:
        if len(experiment.samples) != 1:
            raise InputError.at("card", "far.file", card.far.file, "goes with one sample only")
        mass = experiment.samples[0].lepton_mass
        read = load_events(card.far.file, mass)
        z = z_from_cosine(read.lepton_energy, read.cos_theta, mass)
        pieces.append(_event_columns(0, read.lepton_energy, z, mass))
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
                stage_key(experiment, 1, number),
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
        self.networks = read_networks(folder.path / NETWORK, names, conditions(experiment))
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
            out.append(self._channel(sample, response, np.ones(len(z)), "event"))
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
            out.append(self._channel(sample, response, size * expected / expected.sum(), "bin"))
        return out

    def _geometry(self, sample: Sample) -> Geometry:
        return self.experiment.geometry(self.experiment.targets[sample])

    def _values(self, sample: Sample) -> Float:
        return self.values[self.experiment.targets[sample].name]

    def _channel(self, sample: Sample, response: Response, weights: Float, row: str) -> FarChannel:
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
        dead = np.nonzero(((response.rows @ flux) <= 0.0) & (weights > 0.0))[0]
        if len(dead):
            where = experiment.card.far.file or "events"
            low, high = energies[0], energies[-1]
            allowed = f"no neutrino between {low:.2f} and {high:.2f} GeV makes such a lepton"
            raise InputError.at(where, f"{row}", f"{dead[0]} (of {len(dead)} alike)", allowed)
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
                    stage_key(experiment, 2, data_number),  # the same for both: common randomness
                    resume=None if kept is None else kept[0],
                    record=record,
                )
            trees[f"{data}_{kind}"] = posterior_tree(
                draws, stage_key(experiment, 3, data_number, kind_number)
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
                stage_key(experiment, 4),
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
