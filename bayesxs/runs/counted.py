"""`bayesxs run` with a card of samples: orderings, octants, dCP."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

from bayesxs.cards.build_counted import (
    build_asimov,
    build_chains,
    build_likelihood,
    build_modes,
    build_truth,
    counted_inputs,
    reactor_prior,
)
from bayesxs.cards.counted import CountedCard, ExpectedData, SimulatedData
from bayesxs.cards.lepton import LeptonConfiguration
from bayesxs.detector.samples import CountedSamples
from bayesxs.errors import InputError
from bayesxs.inference.counted import CountedLikelihood
from bayesxs.inference.error_budget import error_budget
from bayesxs.inference.goodness import predictive_p_value
from bayesxs.inference.mode_sampling import ModeDraws, mode_pieces, weighed
from bayesxs.inference.mode_summaries import (
    phase_density,
    predictive_counts,
    summarise_modes,
    summarise_reweighted,
)
from bayesxs.inference.mode_trees import mixed_tree, mode_tree
from bayesxs.inference.modes import MODES, ModePosterior
from bayesxs.inference.posterior import PUBLIC_NAMES
from bayesxs.inference.priors import Flat
from bayesxs.inference.reweighting import OtherPrior, flat_in_sine, reweighted
from bayesxs.inference.sampling import joined
from bayesxs.inference.sensitivity import true_coordinates
from bayesxs.keys import Purpose, derive, generator
from bayesxs.physics.oscillation import OscillationParameters
from bayesxs.progress import Reporter
from bayesxs.report.official import posterior_root
from bayesxs.runs.chains import ChainPieces
from bayesxs.runs.counted_report import (
    ELECTRONS,
    LAYOUT,
    MODE_DRAWS,
    PHASES,
    POSTERIOR,
    REPORT,
    STAGE,
    SUMMARY,
    replicas,
    report_key,
    write_report,
)
from bayesxs.runs.learned import begin, card_samples, refuse_changes, upstream
from bayesxs.storage.atomic import write_bytes, write_csv, write_json
from bayesxs.storage.manifest import package_version
from bayesxs.storage.netcdf import write_netcdf
from bayesxs.storage.run_folder import RunFolder, Stage, content_key

CITATION: Final = (
    "Posterior made by bayesxs with the GLoBES configuration of DUNE's TDR, arXiv:2103.04797"
)
LEPTON_CITATION: Final = (
    "Posterior made by bayesxs in lepton kinematics, with fluxes and normalisations of DUNE's TDR, "
    "arXiv:2103.04797"
)
_PHASES: Final = 72
# What a folder may hold besides, with pages and figures of its own
_OTHERS: Final = {
    "sensitivity": "but scans: see figures/ and sensitivity.json",
    "campaign": "but a campaign: see campaign.html",
}


def run_counted(
    card: CountedCard, folder: Path, *, resume: bool = False, progress: bool = True
) -> Path:
    """Sample every ordering and octant, weigh them, and write posterior, tables and report.

    Chains that were interrupted go on from their last piece.

    Args:
        card: the analysis.
        folder: new, or with `resume` one that holds a run of this card.
        resume: keep what is there.
        progress: show a bar.

    Returns:
        Path of the report.

    Raises:
        InputError: bad input, or a folder of another card.
    """
    reporter = Reporter(progress)
    with RunFolder.create(folder, resume=resume) as opened:
        refuse_changes(card, opened)
        key = content_key(
            STAGE,
            sections=card.model_dump(mode="json", exclude={"scan"}),
            upstream=upstream(card),
            files=counted_inputs(card),
            versions={"bayesxs": package_version(), "layout": str(LAYOUT)},
        )
        if opened.stage_is_current(STAGE, key):
            reporter.line("posterior: up to date")
        else:
            _sample(card, opened, key, reporter)
        if opened.stage_is_current("report", report_key(opened)):
            reporter.line("report: up to date")
        else:
            reporter.line(f"report: {write_report(opened)}")
        return Path(opened.path / REPORT)


def report_counted(folder: Path, *, progress: bool = True) -> Path:
    """Draw the figures of a finished run, and write its tables and report anew.

    Returns:
        Path of the report.

    Raises:
        InputError: no run of samples is finished in the folder.
    """
    with RunFolder.reopen(folder) as opened:
        if STAGE not in opened.stages:
            others = [word for name, word in _OTHERS.items() if name in opened.stages]
            held = f", {' and '.join(others)}" if others else ""
            raise InputError(f"{opened.path}: holds no posterior of a card of samples{held}")
        Reporter(progress).line(f"report: {write_report(opened)}")
        return Path(opened.path / REPORT)


def _sample(card: CountedCard, opened: RunFolder, key: str, reporter: Reporter) -> None:
    """Bring the posterior up to date; bad input ends before anything is written."""
    samples = card_samples(card, opened, reporter)
    likelihood = build_likelihood(card, samples)
    posterior = build_modes(card, likelihood, build_truth(card, samples)[1])
    begin(card, opened)
    settings, seed = build_chains(card), derive(card.seed, Purpose.SAMPLER)
    with opened.stage(STAGE, key) as stage:
        pieces = ChainPieces(stage, "modes", settings)
        with reporter.bar("sampling", settings.steps) as update:
            for piece in mode_pieces(posterior, settings, seed, pieces.resume()):
                pieces.save(piece)
                update(piece.done)
        draws = weighed(posterior, joined(pieces.draws()), seed)
        _results(card, stage, samples, posterior, draws)


def _results(
    card: CountedCard,
    stage: Stage,
    samples: CountedSamples,
    posterior: ModePosterior,
    draws: ModeDraws,
) -> None:
    """Write draws, tables and summary."""
    rng = generator(derive(card.seed, Purpose.PREDICTIVE))
    modes = mode_tree(posterior, draws)
    tree = mixed_tree(modes, rng)
    truth = posterior.likelihood.parameters
    phases = phase_density(posterior, draws)
    proposals = generator(derive(card.seed, Purpose.EVIDENCE))
    summary = summarise_modes(posterior, draws, tree, proposals)
    others: dict[str, dict[str, OtherPrior]] = {"flat_in_sin_dcp": {"dcp": flat_in_sine}}
    if isinstance(posterior.priors.get("s2_13"), Flat):
        others["with_reactor"] = {"sin2_theta13": reactor_prior(truth)}
    summary["other_priors"] = {
        name: summarise_reweighted(reweighted(modes, priors, rng))
        for name, priors in others.items()
    }
    known = isinstance(card.data, ExpectedData | SimulatedData)
    checked = _with_data(samples, posterior, tree, rng, truth if known else None)
    summary["p_values"] = {
        name: None  # data without fluctuations are no test
        if isinstance(card.data, ExpectedData)
        else predictive_p_value(
            np.asarray(checked["observed_data"].dataset[f"{name}_counts"], float),
            replicas(checked, name),
        )
        for name in posterior.likelihood.samples
    }
    if samples.cross_section:
        at = true_coordinates(*build_truth(card, samples))[0]
        summary["budget"] = error_budget(build_asimov(card, samples), at, samples.groups)
    write_netcdf(stage.output(POSTERIOR), checked)
    write_netcdf(stage.output(MODE_DRAWS), modes)
    write_netcdf(stage.output(PHASES), phases)
    electrons = [n for n in samples.names if n.endswith("_app")]
    # Counts of each sample say something where rates are known
    if len(electrons) == 2 and not posterior.likelihood.shape_only:
        write_netcdf(stage.output(ELECTRONS), _ellipses(posterior, electrons))
    for name, rows in (("modes.csv", "modes"), ("nuisances.csv", "nuisances")):
        if found := summary[rows]:
            write_csv(stage.output(name), {n: [row[n] for row in found] for n in found[0]})
    priors = {n: p for n, p in posterior.priors.items() if n != "density"}
    lepton = isinstance(card.configuration, LeptonConfiguration)
    cited = LEPTON_CITATION if lepton else CITATION
    official = posterior_root(tree, priors | {"dcp": Flat(-np.pi, np.pi)}, truth, cited)
    write_bytes(stage.output("posterior.root"), official)
    write_json(stage.output(SUMMARY), summary)


def _with_data(
    samples: CountedSamples,
    posterior: ModePosterior,
    tree: xr.DataTree,
    rng: np.random.Generator,
    truth: OscillationParameters | None,
) -> xr.DataTree:
    """Return the posterior with data, their replicas, and edges of bins, as ArviZ calls them."""
    many = predictive_counts(posterior, tree, rng)
    observed = posterior.likelihood.split(posterior.likelihood.counts)
    replicated = posterior.likelihood.split(many.values)
    per_draw = {"chain": many["chain"].values, "draw": many["draw"].values}
    groups: dict[str, dict[str, Any]] = {
        "observed_data": {},
        "posterior_predictive": {},
        "constant_data": {},
    }
    for row, name in enumerate(samples.names):
        edges, place = samples.shown(row)
        summed = np.equal.outer(place, np.arange(len(edges) - 1))
        seen, drawn_again = (np.asarray(counts[name]) for counts in (observed, replicated))
        seen, drawn_again = (c @ summed.astype(c.dtype) for c in (seen, drawn_again))
        groups["observed_data"][f"{name}_counts"] = f"{name}_bin", seen
        axes = ("chain", "draw", f"{name}_bin")
        groups["posterior_predictive"][f"{name}_counts"] = axes, drawn_again
        words = {"units": "GeV", "long_name": samples.shown_energy}
        groups["constant_data"][f"{name}_edges"] = f"{name}_edge", edges, words
    if truth is not None:
        values = {f"true_{PUBLIC_NAMES[n]}": ((), float(v)) for n, v in truth._asdict().items()}
        groups["constant_data"] |= values
    added = {
        name: xr.Dataset(group, per_draw if name == "posterior_predictive" else None)
        for name, group in groups.items()
    }
    drawn = {str(name): node.to_dataset() for name, node in tree.children.items()}
    return xr.DataTree.from_dict(drawn | added)


def _ellipses(posterior: ModePosterior, electrons: list[str]) -> xr.Dataset:
    """Return electron-like counts around the circle of dcp, of each ordering and octant.

    Parameters are the true ones, mirrored to the other ordering and octant.
    """
    truth = posterior.likelihood.parameters
    dcp = np.linspace(-np.pi, np.pi, _PHASES, endpoint=False)
    counts: dict[str, list[list[float]]] = {name: [] for name in electrons}
    turn = 2.0 * posterior.center
    values = {name: float(np.asarray(value)) for name, value in truth._asdict().items()}
    for mode in MODES:
        same = (values["dm31"] > 0.0) == (mode.ordering > 0.0)
        dm31 = truth.dm31 if same else turn - truth.dm31
        other = (values["s2_23"] > 0.5) != bool(mode.upper)
        s2_23 = 1.0 - truth.s2_23 if other else truth.s2_23
        point = truth._replace(dm31=dm31, s2_23=s2_23)
        rows = _around(posterior.likelihood, point, jnp.asarray(dcp))
        for name in electrons:
            counts[name].append(np.asarray(rows[name]).sum(axis=1).tolist())
    kinds: Mapping[str, str] = dict(zip(("neutrino", "antineutrino"), electrons, strict=True))
    observed = posterior.likelihood.split(posterior.likelihood.counts)
    data = {f"{kind}_data": ((), float(np.sum(observed[name]))) for kind, name in kinds.items()}
    return xr.Dataset(
        {kind: (("mode", "dcp"), np.array(counts[name])) for kind, name in kinds.items()} | data,
        {"mode": [mode.name for mode in MODES], "dcp": dcp},
    )


@jax.jit
def _around(
    likelihood: CountedLikelihood, point: OscillationParameters, dcp: Array
) -> dict[str, Array]:
    return jax.lax.map(lambda phase: likelihood.predict(point._replace(dcp=phase)), dcp)
