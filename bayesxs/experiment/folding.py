"""From data and a cross section to the likelihood object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal

import jax.numpy as jnp
import numpy as np

from bayesxs.constants import PHYSICAL_RANGE
from bayesxs.errors import InputError
from bayesxs.experiment.channels import Channels
from bayesxs.experiment.cross_section import LearnedCrossSection
from bayesxs.experiment.experiment import Experiment
from bayesxs.experiment.far import events_of
from bayesxs.inference.far_data import FarBins, FarData
from bayesxs.inference.likelihood import Likelihood, far_likelihood, require_double_precision
from bayesxs.inference.priors import prior_box
from bayesxs.physics.nufit import nufit_6_0_errors
from bayesxs.physics.oscillation import Baseline, OscillationParameters

# Standard deviations of NuFit-6.0 about the true values for which likelihoods are fast
WIDTH: Final = 5.0

# Relative ranges of what the neutrinos traverse for which likelihoods are fast
BASELINE_RANGES: Final = {"density": 0.1, "electron_fraction": 0.02}


def fold_likelihood(
    experiment: Experiment,
    data: FarData,
    cross_section: LearnedCrossSection | Literal["truth", "assumed"],
    ranges: Mapping[str, tuple[float, float]],
) -> Likelihood:
    """Fold far-detector data with a cross section; see `Experiment.likelihood`.

    Raises:
        InputError: data beyond the phase space or in other bins; double precision is off; a cross
            section or parameter that there is not.
    """
    require_double_precision()
    kind, learned = _kind(experiment, cross_section)
    box = default_ranges(experiment)
    for name, (low, high) in ranges.items():
        if name not in box:
            raise InputError.at("likelihood", "ranges", name, f"one of {', '.join(box)}")
        if not -np.inf < low <= high < np.inf:
            raise InputError.at("likelihood", f"ranges, {name}", (low, high), "low <= high, finite")
        box[name] = (float(low), float(high))
    if data.counts is None:
        channels = Channels(experiment, learned, events_of(experiment, data))
        rows = channels.rows_of_events(kind)
    else:
        channels = Channels(experiment, learned, None)
        rows = channels.rows_of_bins(kind, _counts(experiment, data))
    compressed = channels.folded(rows, box)
    exact = channels.folded(rows, None)
    bins = [
        FarBins(channel, edges, jnp.asarray(cells))
        for channel, edges, cells in channels.predicted(kind)
    ]
    likelihood = far_likelihood(
        compressed,
        exact,
        bins,
        data,
        box=box,
        parameters=experiment.parameters,
        sizes=[round(float(np.sum(r.weights))) for r in rows],
        nuisances=channels.nuisances if kind == "learned" else (),
    )
    return replace(likelihood, near=channels.near_terms(kind))


def _kind(
    experiment: Experiment, cross_section: LearnedCrossSection | Literal["truth", "assumed"]
) -> tuple[str, LearnedCrossSection | None]:
    if isinstance(cross_section, LearnedCrossSection):
        missing = [t.name for t in experiment.unique_targets if t.name not in cross_section.targets]
        if missing:
            allowed = f"has {', '.join(cross_section.targets)} only: learn {', '.join(missing)} too"
            raise InputError.at("likelihood", "cross_section", "learned", allowed)
        return "learned", cross_section
    if cross_section == "assumed" and experiment.assumed is None:
        raise InputError.at("likelihood", "cross_section", "assumed", "the experiment assumes none")
    if cross_section not in ("truth", "assumed"):
        allowed = 'a learned cross section, "truth" or "assumed"'
        raise InputError.at("likelihood", "cross_section", cross_section, allowed)
    return cross_section, None


def _counts(experiment: Experiment, data: FarData) -> list[np.ndarray]:
    """Return the counts of each sample.

    Raises:
        InputError: not as many as there are bins, or negative or not finite.
    """
    grids = [experiment.geometry(experiment.targets[s]).grid for s in experiment.samples]
    counts, wanted = np.asarray(data.counts, float), sum(grid.size for grid in grids)
    if counts.shape != (wanted,):
        allowed = f"({wanted},), the bins of Experiment.simulate(binned=True)"
        raise InputError.at("far data", "shape of counts", counts.shape, allowed)
    bad = ~(np.isfinite(counts) & (counts >= 0.0))
    if bad.any():
        i = int(np.argmax(bad))
        raise InputError.at("far data", f"counts[{i}]", counts[i], "finite and >= 0")
    return np.split(counts, np.cumsum([grid.size for grid in grids])[:-1])


def default_ranges(experiment: Experiment) -> dict[str, tuple[float, float]]:
    """Return the ranges for which likelihoods are compressed, unless others are asked for.

    They cover the priors, and WIDTH standard deviations of NuFit-6.0 about the true values.
    """
    truth = experiment.parameters
    errors = nufit_6_0_errors()
    box: dict[str, tuple[float, float]] = {}
    for name in OscillationParameters._fields:
        value, sd = (float(np.asarray(getattr(t, name))) for t in (truth, errors))
        lowest, highest = PHYSICAL_RANGE[name]
        box[name] = (max(lowest, value - WIDTH * sd), min(highest, value + WIDTH * sd))
    box["dcp"] = (-np.pi, np.pi)
    for name, (low, high) in prior_box(experiment.priors).items():
        if name != "dcp":
            box[name] = (min(low, box[name][0]), max(high, box[name][1]))
    for name in Baseline._fields:
        value = float(np.asarray(getattr(experiment.baseline, name)))
        share = BASELINE_RANGES.get(name, 0.0)
        box[name] = (value * (1.0 - share), value * (1.0 + share))
    return box
