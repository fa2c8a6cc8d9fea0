"""Far-detector events: drawn from the true cross section, or read from a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import xarray as xr

from bayesxs.detector.density import Events, Sample, simulate_events
from bayesxs.detector.smearing import smear_events
from bayesxs.detector.template import Template, draw
from bayesxs.errors import InputError
from bayesxs.experiment.experiment import Experiment
from bayesxs.experiment.observed import Observed, on_edges
from bayesxs.inference.far_data import FarData
from bayesxs.inputs.events import RECONSTRUCTED
from bayesxs.keys import Purpose, derive, generator
from bayesxs.physics.kinematics import cosine_from_z, is_physical, z_from_cosine
from bayesxs.physics.oscillation import OscillationParameters
from bayesxs.types import Floats as Float


def simulated_events(
    experiment: Experiment,
    events: int,
    seed: int | jax.Array,
    parameters: OscillationParameters | None = None,
) -> xr.Dataset:
    """Draw far-detector events from the true cross section's continuous density.

    Those of a generator are drawn from its far part, without replacement, each in proportion to its
    weight in the oscillated far flux.

    Args:
        experiment: fluxes, nature and detector.
        events: number, of all samples together.
        seed: or a random key.
        parameters: of the oscillation; the experiment's true ones if None.

    Returns:
        Over event: sample, lepton_energy and energy in GeV, z, cos_theta, and with a detector what
        it reconstructs of the events that it sees.

    Raises:
        InputError: a generator's far part has too few events.
    """
    pieces = []
    numbers = event_numbers(events, sample_shares(experiment, parameters))
    for number, sample in enumerate(experiment.samples):
        key = derive(seed, Purpose.SIMULATION, number)
        truth = experiment.targets[sample].truth
        if isinstance(truth, Template):
            drawn = _drawn(experiment, sample, truth, parameters, numbers[number], key)
        else:
            drawn = simulate_events(
                key,
                truth,
                _oscillated(experiment, sample, parameters),
                experiment.energy_range,
                sample.lepton_mass,
                numbers[number],
                experiment.space,
            )
        columns = _event_columns(number, drawn.lepton_energy, drawn.z, sample.lepton_mass)
        pieces.append(columns | {"energy": drawn.energy})
    return _reconstructed(experiment, _joined(pieces), seed)


def _drawn(
    experiment: Experiment,
    sample: Sample,
    template: Template,
    parameters: OscillationParameters | None,
    number: int,
    key: jax.Array,
) -> Events:
    """Draw events of a generator without replacement.

    Raises:
        InputError: there are too few.
    """
    weights = _far_weights(experiment, sample, template, parameters, number)
    chosen = draw(weights, number, generator(key))
    return Events(template.energy[chosen], template.lepton_energy[chosen], template.z[chosen])


def _far_weights(
    experiment: Experiment,
    sample: Sample,
    template: Template,
    parameters: OscillationParameters | None,
    number: int,
) -> Float:
    """Return the weights of a generator's events in the far flux, of which some are to be drawn.

    Raises:
        InputError: there are too few.
    """
    energies = experiment.energies
    oscillation = experiment.oscillation(sample, energies.points, parameters)
    weights = template.weights(energies, experiment.source_flux(sample) * oscillation)
    most = int(weights.sum() / weights.max())
    if number > most:
        allowed = f"at most {most} of the generator's {len(weights)} events, without replacement"
        name = experiment.names.get("far_events", "far events")
        raise InputError.at(experiment.source, f"{name}, {sample.name}", number, allowed)
    return weights


def check_number_of_events(experiment: Experiment, events: int) -> None:
    """Refuse to draw more far events than a generator has made.

    Args:
        experiment: of whatever nature.
        events: number, of all samples together.

    Raises:
        InputError: there are too few.
    """
    numbers = event_numbers(events, sample_shares(experiment)) if experiment.generated else []
    for sample, number in zip(experiment.samples, numbers, strict=False):
        truth = experiment.targets[sample].truth
        if isinstance(truth, Template):
            _far_weights(experiment, sample, truth, None, number)


def observed_events(experiment: Experiment, observed: Observed) -> xr.Dataset:
    """Return the events of a file, as `simulated_events` does; what is odd is in the attributes."""
    energy, cosine, samples = observed.events
    pieces = []
    for number, sample in enumerate(experiment.samples):
        own, mass = samples == number, sample.lepton_mass
        z = z_from_cosine(energy[own], cosine[own], mass)
        pieces.append(_event_columns(number, energy[own], z, mass))
    data = _reconstructed(experiment, _joined(pieces), None)
    data.attrs |= observed.notes | {"on_bin_edges": _on_edges(experiment, data)}
    return data


def far_data(experiment: Experiment, events: xr.Dataset, binned: bool = False) -> FarData:
    """Return events as arrays: as the detector reconstructs them, if there is one.

    Args:
        experiment: samples and detector.
        events: as from `simulated_events`.
        binned: count them in the bins of each sample's geometry.
    """
    sample = events["sample"].values
    if experiment.detector is not None:
        energy, cosine = events["reco_lepton_energy"].values, np.cos(events["reco_angle"].values)
    else:
        energy, cosine = events["lepton_energy"].values, events["cos_theta"].values
    if not binned:
        return FarData(energy, cosine, sample)
    counts = []
    for number, own in enumerate(experiment.samples):
        grid, chosen = experiment.geometry(experiment.targets[own]).grid, sample == number
        counts.append(grid.count(energy[chosen], np.arccos(cosine[chosen])))
    return FarData(counts=np.concatenate(counts))


def events_of(experiment: Experiment, data: FarData) -> xr.Dataset:
    """Return data of single events as a dataset, as `simulated_events` does.

    Raises:
        InputError: arrays of different lengths, values that are not finite, an unknown sample, or
            an event that no neutrino of the beam makes; the message names the index.
    """
    energy, cosine = (np.asarray(a, float) for a in (data.lepton_energy, data.cos_theta))
    sample = np.zeros(energy.shape, int) if data.sample is None else np.asarray(data.sample)
    if energy.ndim != 1 or not energy.shape == cosine.shape == sample.shape:
        shapes = f"{energy.shape}, {cosine.shape}, {sample.shape}"
        raise InputError.at("far data", "lepton_energy, cos_theta, sample", shapes, "one length")
    good = np.isfinite(energy) & (np.abs(cosine) <= 1.0)
    good &= (sample >= 0) & (sample < len(experiment.samples))
    if not good.all():
        i = int(np.argmin(good))
        allowed = f"finite energy, |cos_theta| <= 1, sample below {len(experiment.samples)}"
        value = f"{energy[i]:g}, {cosine[i]:g}, {sample[i]}"
        raise InputError.at("far data", f"event {i}", value, allowed)
    if experiment.detector is None:
        _require_possible(experiment, energy, cosine, sample)
    pieces = []
    for number, own in enumerate(experiment.samples):
        chosen = np.flatnonzero(sample == number)
        z = z_from_cosine(energy[chosen], cosine[chosen], own.lepton_mass)
        columns = _event_columns(number, energy[chosen], z, own.lepton_mass)
        columns |= {"reco_lepton_energy": energy[chosen], "reco_angle": np.arccos(cosine[chosen])}
        pieces.append(columns)
    return _joined(pieces)


def _require_possible(
    experiment: Experiment, energy: Float, cosine: Float, sample: np.ndarray
) -> None:
    top, space = experiment.energy_range[1], experiment.space
    masses = np.array([s.lepton_mass for s in experiment.samples])[sample]
    possible = energy > masses
    for mass in np.unique(masses):
        own = possible & (masses == mass)
        z = z_from_cosine(energy[own], cosine[own], mass)
        possible[own] = np.asarray(is_physical(top, energy[own], z, mass, space))
    if not possible.all():
        i = int(np.argmin(possible))
        allowed = f"a lepton that a neutrino of up to {top:g} GeV makes with x < {space.x_max:g}"
        value = f"{energy[i]:g} GeV, cos_theta {cosine[i]:g}"
        raise InputError.at("far data", f"event {i}", value, allowed)


def _joined(pieces: list[dict[str, Any]]) -> xr.Dataset:
    columns = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    return xr.Dataset({name: ("event", values) for name, values in columns.items()})


def _on_edges(experiment: Experiment, data: xr.Dataset) -> int:
    """Count the events on an edge of the bins that spectra are shown in."""
    geometry = experiment.geometry(experiment.targets[experiment.samples[0]])
    names: tuple[str, ...] = RECONSTRUCTED
    if geometry.response is None:
        names = ("lepton_energy", "angle" if geometry.integrated else "z")
    edges = geometry.seen_axes.values()
    return sum(on_edges(seen_values(data, n), e) for n, e in zip(names, edges, strict=True))


def seen_values(events: xr.Dataset, name: str) -> Float:
    """Return what is seen of events along an axis, such as "lepton_energy", "z" or "angle"."""
    if name == "angle":
        return np.arccos(events["cos_theta"].values)
    return np.asarray(events[name].values)


def event_numbers(total: int, shares: Float) -> list[int]:
    """Round shares of a number of events to integers that add up to it."""
    numbers = np.round(total * shares).astype(int)
    while (missing := total - int(numbers.sum())) != 0:
        step = 1 if missing > 0 else -1
        numbers[np.argmax(step * (total * shares - numbers))] += step
    return [int(number) for number in numbers]


def sample_shares(experiment: Experiment, parameters: OscillationParameters | None = None) -> Float:
    """Return the part of the events that each sample is expected to have.

    Args:
        experiment: fluxes and nature.
        parameters: of the oscillation; the true ones if None.
    """
    rates = []
    for sample in experiment.samples:
        total = experiment.geometry(experiment.targets[sample]).true_total
        oscillation = experiment.oscillation(sample, experiment.energies.points, parameters)
        rates.append(total @ (experiment.source_flux(sample) * oscillation))
    return np.array(rates) / np.sum(rates)


def _reconstructed(
    experiment: Experiment, data: xr.Dataset, seed: int | jax.Array | None
) -> xr.Dataset:
    """Add what the far detector reconstructs, and drop the events that it does not see.

    Without a seed the events are what a detector has reconstructed already.
    """
    pieces = []
    for number, sample in enumerate(experiment.samples):
        response = experiment.geometry(experiment.targets[sample]).response
        if response is None:
            return data
        own = data.isel(event=data["sample"].values == number)
        energy, angle = own["lepton_energy"].values, np.arccos(own["cos_theta"].values)
        kept = np.full(len(energy), True)
        if seed is not None:
            energy, angle, kept = smear_events(
                derive(seed, Purpose.SMEARING, number),
                energy,
                angle,
                response.parameters,
                response.acceptance,
                sample.lepton_mass,
            )
        own = own.assign(reco_lepton_energy=("event", energy), reco_angle=("event", angle))
        pieces.append(own.isel(event=kept))
    return xr.concat(pieces, "event")


def _oscillated(
    experiment: Experiment, sample: Sample, parameters: OscillationParameters | None
) -> Callable[[Float], Float]:
    def flux(energy: Float) -> Float:
        source = experiment.flux_at_far(sample.flux_id, energy)
        return source * experiment.oscillation(sample, energy, parameters)

    return flux


def _event_columns(number: int, lepton_energy: Float, z: Float, mass: float) -> dict[str, Any]:
    return {
        "sample": np.full(len(z), number, dtype=np.int8),
        "lepton_energy": lepton_energy,
        "z": z,
        "cos_theta": cosine_from_z(lepton_energy, z, mass),
    }
