"""The stages of a run: each reads what earlier ones left in the folder and writes its own files."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import jax
import xarray as xr

from bayesxs.experiment.channels import Channels
from bayesxs.experiment.cross_section import read_cross_section
from bayesxs.experiment.experiment import Experiment
from bayesxs.experiment.far import observed_events, simulated_events
from bayesxs.experiment.near import NearData
from bayesxs.experiment.observed import Observed
from bayesxs.experiment.shared import learned_cross_section
from bayesxs.experiment.weights import conditions, read_networks
from bayesxs.inference import bootstrap as boot
from bayesxs.inference.channel import FarChannel
from bayesxs.inference.model import far_detector_model, initial_values, sampler_of
from bayesxs.inference.posterior import add_bootstrap
from bayesxs.inference.sampling import NutsSampler
from bayesxs.inference.thinning import thinned_channels
from bayesxs.keys import Purpose, derive
from bayesxs.learning.gaussian_process import STEPS
from bayesxs.learning.near_term import NearTerm
from bayesxs.progress import Reporter
from bayesxs.report.budget import TWO_STEPS
from bayesxs.runs.chains import CHAINS, ChainPieces, Posterior, write_posterior
from bayesxs.runs.settings import RunSettings
from bayesxs.runs.training import NETWORK, trained_networks
from bayesxs.storage.netcdf import read_dataset, tree_writer, write_netcdf
from bayesxs.storage.run_folder import RunFolder, Stage

CROSS_SECTION, EVENTS, ESTIMATES = "cross_section.nc", "events.nc", "bootstrap.nc"


def uncertainty_stage(
    near: NearData, settings: RunSettings, folder: RunFolder, stage: Stage, reporter: Reporter
) -> None:
    """Find mean and modes of every target's cross section, and how it follows flux and response."""
    networks = trained_networks((near,), folder.path / NETWORK)

    def bar(name: str) -> AbstractContextManager[Callable[..., None]]:
        return reporter.bar(f"cross-section modes, {name}", STEPS)

    shared = settings.training.share != "none"
    found = learned_cross_section(near, networks, settings.uncertainty, bar, shared=shared)
    for name, own in found.targets.items():
        reporter.line(f"  {name}: {len(own.modes)} modes, {own.words}")
    targets = found.targets.items()
    stage.notes["modes"] = {name: len(own.modes) for name, own in targets}
    stage.notes["effective_parameters"] = {
        name: own.effective_parameters
        for name, own in targets
        if own.effective_parameters is not None
    }
    stage.notes["negative_mass"] = {name: own.negative_mass for name, own in targets}
    found.save(stage.output(CROSS_SECTION))


def read_channels(experiment: Experiment, settings: RunSettings, folder: RunFolder) -> Channels:
    """Return data and cross sections that earlier stages left."""
    learned = None
    if "uncertainty" in folder.stages:
        networks = read_networks(
            folder.path / NETWORK, list(experiment.nodes), conditions(experiment)
        )
        learned = read_cross_section(folder.path / CROSS_SECTION, experiment.nodes, networks)
    return Channels(
        experiment,
        learned,
        read_dataset(folder.path / EVENTS) if "simulate" in folder.stages else None,
        simulated=settings.simulated,
        binned_above=settings.far.binned_above,
    )


def simulate_stage(
    experiment: Experiment,
    observed: Observed | None,
    settings: RunSettings,
    stage: Stage,
    reporter: Reporter,
) -> None:
    """Draw far-detector events from the true cross section, or take those of a file."""
    if observed is not None:
        data = observed_events(experiment, observed)
    else:
        data = simulated_events(experiment, settings.far.events, settings.seed)
    made = "true cross section" if settings.simulated else "cross section of [nature]"
    made = "events of a generator" if experiment.generated else made
    data.attrs["source"] = settings.far.file or f"simulated with the {made}"
    write_netcdf(stage.output(EVENTS), data)
    if experiment.resolution_warning is not None:
        reporter.line(f"  warning: {experiment.resolution_warning}")
    reporter.line(f"  {len(data.event)} events{_remarks(observed)}")


def _remarks(observed: Observed | None) -> str:
    """Return what the events of a file have that somebody may not expect."""
    notes = {} if observed is None else observed.notes
    words = {
        "impossible": "dropped, as no neutrino of the beam makes them",
        "below_threshold": "dropped, below the detector's threshold",
        "repeated": "that repeat an earlier row",
    }
    return "".join(f"; {notes[k]} {text}" for k, text in words.items() if notes.get(k))


def sample_stage(
    channels: Channels, settings: RunSettings, stage: Stage, reporter: Reporter
) -> None:
    """Sample the posterior of each cross section, on the events and, if simulated, on Asimov data.

    Memory holds one piece of the chains; the file is assembled from those on the disk.
    """
    experiment, posteriors, seconds = channels.experiment, [], {}
    sets = [("events", channels.of_events)]
    if channels.simulated:  # else there is no truth to compare with
        sets.append(("asimov", channels.of_asimov))
    plain: NutsSampler | None = None
    for data_number, (data, make) in enumerate(sets):
        for kind_number, kind in enumerate(channels.kinds):
            clock = time.perf_counter()
            nuisances = channels.nuisances if kind == "learned" else ()
            far = thinned_channels(make(kind), experiment.priors, experiment.parameters)
            near = channels.near_terms(kind)
            # All that have no nuisances share what is compiled
            if nuisances or plain is None:
                sampler = far_sampler(experiment, settings, far, near)
                plain = plain if nuisances else sampler
            else:
                sampler = plain
            runs = [(kind, near, kind_number)]
            if near and data == "events":  # what near data tell of the flux, left out
                blind = tuple(term.blind() for term in near)
                runs.append((TWO_STEPS, blind, len(channels.kinds)))
            for name, known, number in runs:
                label = f"{data}-{name}"
                key = derive(settings.seed, Purpose.SAMPLER, data_number)
                shown = f"sampling {data}, {name.replace('_', ' ')}"
                with reporter.bar(shown, settings.sampler.steps) as update:
                    pieces = sample_far(sampler, far, key, stage, label, update, known)
                octant_key = derive(settings.seed, Purpose.OCTANT, data_number, number)
                names = [n.name for n in nuisances]
                posteriors.append(
                    Posterior(f"{data}_{name}", pieces, octant_key, names, experiment.priors)
                )
                seconds[label] = time.perf_counter() - clock
    stage.notes["sampling_seconds"] = seconds
    with tree_writer(stage.output(CHAINS)) as writer:
        for posterior in posteriors:
            write_posterior(writer, posterior)


def sample_far(
    sampler: NutsSampler,
    channels: list[FarChannel],
    key: jax.Array,
    stage: Stage,
    label: str,
    update: Callable[[int], None],
    near: Sequence[NearTerm] = (),
) -> ChainPieces:
    """Sample a posterior into pieces on the disk, going on from those that the stage has of it."""
    pieces = ChainPieces(stage, label, sampler.settings)
    for piece in sampler.pieces((channels, tuple(near)), key, resume=pieces.resume()):
        pieces.save(piece)
        update(piece.done)
    return pieces


def far_sampler(
    experiment: Experiment,
    settings: RunSettings,
    channels: list[FarChannel],
    near: Sequence[NearTerm] = (),
) -> NutsSampler:
    """Return a sampler of channels and near data shaped like those given."""
    marginalize = settings.marginalize_octant
    nuisances = channels[0].nuisances
    start = initial_values(experiment.priors, experiment.parameters, nuisances, marginalize, near)

    def model(data: list[FarChannel], near: Sequence[NearTerm]) -> None:
        far_detector_model(data, experiment.priors, experiment.parameters, marginalize, near)

    return sampler_of(model, (channels, tuple(near)), settings.sampler, start)


def bootstrap_stage(
    channels: Channels, settings: RunSettings, stage: Stage, reporter: Reporter
) -> None:
    """Bootstrap the maximum-likelihood estimates of both cross sections on the same resamplings."""
    experiment, replicas = channels.experiment, settings.replicas
    trees = {}
    for kind in channels.kinds:
        with reporter.bar(f"bootstrap, {kind}", replicas) as update:
            tree = xr.DataTree()
            result = boot.bootstrap(
                derive(settings.seed, Purpose.BOOTSTRAP),
                channels.of_events(kind),
                experiment.priors,
                experiment.parameters,
                {name: float(getattr(experiment.parameters, name)) for name in experiment.priors},
                replicas,
                update,
                channels.near_terms(kind),
            )
        add_bootstrap(tree, result, experiment.priors)
        trees[kind] = tree["bootstrap"].dataset
        failed = int((~result.converged).sum())
        if failed:
            reporter.line(f"  warning: {failed} of {replicas + 1} fits ({kind}) did not converge")
    write_netcdf(stage.output(ESTIMATES), xr.DataTree.from_dict(trees))
