"""The stages of a run: each reads what earlier ones left in the folder and writes its own files."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import xarray as xr

from bayesxs.detector.density import Sample, simulate_events
from bayesxs.detector.grid import Float
from bayesxs.detector.smearing import smear_events
from bayesxs.experiment.channels import EVENTS, Channels
from bayesxs.experiment.experiment import Experiment
from bayesxs.experiment.observed import on_edges
from bayesxs.inference import bootstrap as boot
from bayesxs.inference.channel import FarChannel
from bayesxs.inference.model import far_detector_model, initial_values
from bayesxs.inference.posterior import add_bootstrap
from bayesxs.inference.sampling import NutsSampler, SamplerSettings, curvature_covariance
from bayesxs.inputs.events import RECONSTRUCTED
from bayesxs.keys import Purpose, derive
from bayesxs.physics.kinematics import cosine_from_z, z_from_cosine
from bayesxs.progress import Reporter
from bayesxs.runs.chains import CHAINS, ChainPieces, Posterior, write_posterior
from bayesxs.storage.netcdf import tree_writer, write_netcdf
from bayesxs.storage.run_folder import Stage

ESTIMATES = "bootstrap.nc"


# simulate


def simulate_stage(experiment: Experiment, stage: Stage, reporter: Reporter) -> None:
    """Draw far-detector events from the true cross section's continuous density, or read them."""
    card = experiment.card
    pieces = []
    if experiment.observed is not None:
        energy, cosine, samples = experiment.observed.events
        for number, sample in enumerate(experiment.samples):
            own, mass = samples == number, sample.lepton_mass
            z = z_from_cosine(energy[own], cosine[own], mass)
            pieces.append(_event_columns(number, energy[own], z, mass))
    else:
        numbers = event_numbers(card.far.events, sample_shares(experiment))
        for number, sample in enumerate(experiment.samples):
            events = simulate_events(
                derive(experiment.seed, Purpose.SIMULATION, number),
                experiment.targets[sample].truth,
                _oscillated(experiment, sample),
                (card.beam.energy_min_GeV, card.beam.energy_max_GeV),
                sample.lepton_mass,
                numbers[number],
            )
            columns = _event_columns(number, events.lepton_energy, events.z, sample.lepton_mass)
            pieces.append(columns | {"energy": events.energy})
    columns = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    data = xr.Dataset({name: ("event", values) for name, values in columns.items()})
    data = _reconstructed(experiment, data)
    made = "true cross section" if card.simulated else "cross section of [nature]"
    data.attrs["source"] = card.far.file or f"simulated with the {made}"
    if experiment.observed is not None:
        data.attrs |= experiment.observed.notes | {"on_bin_edges": _on_edges(experiment, data)}
    write_netcdf(stage.output(EVENTS), data)
    if experiment.resolution_warning is not None:
        reporter.line(f"  warning: {experiment.resolution_warning}")
    reporter.line(f"  {len(data.event)} events{_remarks(experiment)}")


def _remarks(experiment: Experiment) -> str:
    """Return what the events of a file have that somebody may not expect."""
    notes = {} if experiment.observed is None else experiment.observed.notes
    words = {
        "impossible": "dropped, as no neutrino of the beam makes them",
        "below_threshold": "dropped, below the detector's threshold",
        "repeated": "that repeat an earlier row",
    }
    return "".join(f"; {notes[k]} {text}" for k, text in words.items() if notes.get(k))


def _on_edges(experiment: Experiment, data: xr.Dataset) -> int:
    """Count the events on an edge of the bins that spectra are shown in."""
    geometry = experiment.geometry(experiment.targets[experiment.samples[0]])
    names = ("lepton_energy", "z") if geometry.response is None else RECONSTRUCTED
    edges = geometry.seen_axes.values()
    return sum(on_edges(data[name].values, e) for name, e in zip(names, edges, strict=True))


def event_numbers(total: int, shares: Float) -> list[int]:
    """Round shares of a number of events to integers that add up to it."""
    numbers = np.round(total * shares).astype(int)
    while (missing := total - int(numbers.sum())) != 0:
        step = 1 if missing > 0 else -1
        numbers[np.argmax(step * (total * shares - numbers))] += step
    return [int(number) for number in numbers]


def sample_shares(experiment: Experiment) -> Float:
    """Return the part of the events that each sample is expected to have."""
    rates = []
    for sample in experiment.samples:
        total = experiment.geometry(experiment.targets[sample]).true_total
        oscillation = experiment.oscillation(sample, experiment.energies.points)
        rates.append(total @ (experiment.source_flux(sample) * oscillation))
    return np.array(rates) / np.sum(rates)


def _reconstructed(experiment: Experiment, data: xr.Dataset) -> xr.Dataset:
    """Add what the far detector reconstructs, and drop the events that it does not see.

    Events from a file are what a detector has reconstructed already.
    """
    pieces = []
    for number, sample in enumerate(experiment.samples):
        response = experiment.geometry(experiment.targets[sample]).response
        if response is None:
            return data
        own = data.isel(event=data["sample"].values == number)
        energy, angle = own["lepton_energy"].values, np.arccos(own["cos_theta"].values)
        kept = np.full(len(energy), True)
        if experiment.observed is None:
            energy, angle, kept = smear_events(
                derive(experiment.seed, Purpose.SMEARING, number),
                energy,
                angle,
                response.parameters,
                response.acceptance,
                sample.lepton_mass,
            )
        own = own.assign(reco_lepton_energy=("event", energy), reco_angle=("event", angle))
        pieces.append(own.isel(event=kept))
    return xr.concat(pieces, "event")


def _oscillated(experiment: Experiment, sample: Sample) -> Callable[[Float], Float]:
    def flux(energy: Float) -> Float:
        source = experiment.far_flux(sample.flux_id, energy)
        return source * experiment.oscillation(sample, energy)

    return flux


def _event_columns(number: int, lepton_energy: Float, z: Float, mass: float) -> dict[str, Any]:
    return {
        "sample": np.full(len(z), number, dtype=np.int8),
        "lepton_energy": lepton_energy,
        "z": z,
        "cos_theta": cosine_from_z(lepton_energy, z, mass),
    }


# sample


def sample_stage(
    experiment: Experiment, channels: Channels, stage: Stage, reporter: Reporter
) -> None:
    """Sample the posterior of each cross section, on the events and, if simulated, on Asimov data.

    Memory holds one piece of the chains; the file is assembled from those on the disk.
    """
    posteriors = []
    seconds = {}
    sets = [("events", channels.of_events)]
    if experiment.card.simulated:  # else there is no truth to compare with
        sets.append(("asimov", channels.of_asimov))
    for data_number, (data, make) in enumerate(sets):
        # Kinds without nuisances share what is compiled
        samplers: dict[int, NutsSampler] = {}
        for kind_number, kind in enumerate(channels.kinds):
            clock = time.perf_counter()
            nuisances = channels.nuisances if kind == "learned" else ()
            far = make(kind)
            if len(nuisances) not in samplers:
                samplers[len(nuisances)] = far_sampler(experiment, far)
            label = f"{data}-{kind}"
            key = derive(experiment.seed, Purpose.SAMPLER, data_number)
            with reporter.bar(f"sampling {data}, {kind}", sampler_steps(experiment)) as update:
                pieces = sample_far(samplers[len(nuisances)], far, key, stage, label, update)
            octant_key = derive(experiment.seed, Purpose.OCTANT, data_number, kind_number)
            names = [n.name for n in nuisances]
            posteriors.append(
                Posterior(f"{data}_{kind}", pieces, octant_key, names, experiment.priors)
            )
            seconds[label] = time.perf_counter() - clock
    stage.notes["sampling_seconds"] = seconds
    with tree_writer(stage.output(CHAINS)) as writer:
        for posterior in posteriors:
            write_posterior(writer, posterior)


def sampler_steps(experiment: Experiment) -> int:
    """Return how many steps each chain takes."""
    return experiment.card.sampler.warmup + experiment.card.sampler.draws


def sample_far(
    sampler: NutsSampler,
    channels: list[FarChannel],
    key: jax.Array,
    stage: Stage,
    label: str,
    update: Callable[[int], None],
) -> ChainPieces:
    """Sample a posterior into pieces on the disk, going on from those that the stage has of it."""
    pieces = ChainPieces(stage, label, sampler.settings)
    for piece in sampler.pieces((channels,), key, resume=pieces.resume()):
        pieces.save(piece)
        update(piece.done)
    return pieces


def far_sampler(experiment: Experiment, channels: list[FarChannel]) -> NutsSampler:
    """Return a sampler, with the card's settings, of channels shaped like those given."""
    chosen = experiment.card.sampler
    settings = SamplerSettings(
        chosen.chains,
        chosen.warmup,
        chosen.draws,
        chosen.target_accept,
        record_every=chosen.checkpoint_every,
        first_chain=chosen.first_chain,
    )
    marginalize = chosen.octant == "marginalized"
    nuisances = channels[0].nuisances
    start = initial_values(experiment.priors, experiment.parameters, nuisances, marginalize)

    def model(data: list[FarChannel]) -> None:
        far_detector_model(data, experiment.priors, experiment.parameters, marginalize)

    if not nuisances:
        return NutsSampler(model, settings, start)
    return NutsSampler(model, settings, start, curvature_covariance(model, start, (channels,)))


# bootstrap


def bootstrap_stage(
    experiment: Experiment, channels: Channels, stage: Stage, reporter: Reporter
) -> None:
    """Bootstrap the maximum-likelihood estimates of both cross sections on the same resamplings."""
    replicas = experiment.card.bootstrap.replicas
    trees = {}
    for kind in channels.kinds:
        with reporter.bar(f"bootstrap, {kind}", replicas) as update:
            tree = xr.DataTree()
            result = boot.bootstrap(
                derive(experiment.seed, Purpose.BOOTSTRAP),
                channels.of_events(kind),
                experiment.priors,
                experiment.parameters,
                {name: float(getattr(experiment.parameters, name)) for name in experiment.priors},
                replicas,
                update,
            )
        add_bootstrap(tree, result, experiment.priors)
        trees[kind] = tree["bootstrap"].dataset
        failed = int((~result.converged).sum())
        if failed:
            reporter.line(f"  warning: {failed} of {replicas + 1} fits ({kind}) did not converge")
    write_netcdf(stage.output(ESTIMATES), xr.DataTree.from_dict(trees))
