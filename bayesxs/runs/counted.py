"""`bayesxs run` with a card of samples in reconstructed energy: orderings, octants, dCP."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

from bayesxs.cards.build_counted import (
    build_chains,
    build_likelihood,
    build_modes,
    build_samples,
    build_truth,
    counted_inputs,
)
from bayesxs.cards.counted import CountedCard, ExpectedData, SimulatedData, counted_toml
from bayesxs.detector.reconstructed import ReconstructedSamples
from bayesxs.inference.counted import CountedLikelihood
from bayesxs.inference.goodness import predictive_p_value
from bayesxs.inference.mode_sampling import ModeDraws, mixed_tree, sample_modes
from bayesxs.inference.mode_summaries import phase_density, predictive_counts, summarise_modes
from bayesxs.inference.modes import MODES, ModePosterior
from bayesxs.inference.posterior import PUBLIC_NAMES
from bayesxs.inference.priors import Flat, Gaussian, Prior
from bayesxs.keys import Purpose, derive, generator
from bayesxs.physics.oscillation import OscillationParameters
from bayesxs.progress import Reporter
from bayesxs.report.modes import render_modes
from bayesxs.report.official import posterior_root
from bayesxs.report.plots_modes import (
    biprobability_figure,
    contour_figure,
    nuisance_figure,
    phase_figure,
    spectra_figure,
    triangle_figure,
)
from bayesxs.report.style import to_png
from bayesxs.runs.pipeline import device
from bayesxs.runs.sensitivity import refuse_changes
from bayesxs.storage.atomic import read_text, write_bytes, write_csv, write_json, write_text
from bayesxs.storage.inner import present
from bayesxs.storage.manifest import package_version
from bayesxs.storage.netcdf import write_netcdf
from bayesxs.storage.run_folder import CONFIG, RunFolder, Stage, content_key

STAGE: Final = "posterior"
REPORT: Final = "report.html"
CITATION: Final = (
    "Posterior made by bayesxs with the GLoBES configuration of DUNE's TDR, arXiv:2103.04797"
)
_PHASES: Final = 73


def run_counted(
    card: CountedCard, folder: Path, *, resume: bool = False, progress: bool = True
) -> Path:
    """Sample every ordering and octant, weigh them, and write posterior, tables and report.

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
        if present(opened.path / CONFIG):
            refuse_changes(card, opened)
        key = content_key(
            STAGE,
            sections=card.model_dump(mode="json", exclude={"scan"}),
            files=counted_inputs(card),
            versions={"bayesxs": package_version()},
        )
        if opened.stage_is_current(STAGE, key):
            reporter.line("posterior: up to date")
            return Path(opened.path / REPORT)
        samples = build_samples(card)
        likelihood = build_likelihood(card, samples)
        posterior = build_modes(card, likelihood, build_truth(card, samples)[1])
        write_text(opened.path / CONFIG, counted_toml(card))
        opened.record(device=device(), seeds={"seed": card.seed})
        settings = build_chains(card)
        with opened.stage(STAGE, key) as stage:
            with reporter.bar("sampling", settings.steps) as update:
                draws = sample_modes(
                    posterior, settings, derive(card.seed, Purpose.SAMPLER), update
                )
            summary, images = _results(card, stage, samples, posterior, draws)
            write_json(stage.output("summary.json"), summary)
        page = render_modes(
            summary, opened.manifest, read_text(opened.path / CONFIG), images, opened.path.name
        )
        write_text(opened.path / REPORT, page)
        reporter.line(f"posterior: {in_words(summary)}")
        return Path(opened.path / REPORT)


def _results(
    card: CountedCard,
    stage: Stage,
    samples: ReconstructedSamples,
    posterior: ModePosterior,
    draws: ModeDraws,
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Write posterior, spectra and figures; return the summary and the images."""
    rng = generator(derive(card.seed, Purpose.PREDICTIVE))
    tree = mixed_tree(posterior, draws, rng)
    phases = phase_density(posterior, draws)
    known = isinstance(card.data, ExpectedData | SimulatedData)
    truth = posterior.likelihood.parameters
    true = {PUBLIC_NAMES[n]: float(v) for n, v in truth._asdict().items()} if known else {}
    summary = summarise_modes(posterior, draws, tree, phases)
    many = predictive_counts(posterior, tree, rng)
    spectra = {}
    observed = posterior.likelihood.split(posterior.likelihood.counts)
    for row, (name, replicated) in enumerate(posterior.likelihood.split(many).items()):
        inside = np.flatnonzero(samples.inside[row])
        edges = samples.edges[inside[0] : inside[-1] + 2]
        spectra[name] = edges, np.asarray(observed[name]), np.asarray(replicated)
    summary["p_values"] = {n: predictive_p_value(s[1], s[2]) for n, s in spectra.items()}
    write_netcdf(stage.output("posterior.nc"), tree)
    write_netcdf(stage.output("phases.nc"), phases)
    modes = summary["modes"]
    write_csv(stage.output("modes.csv"), {n: [m[n] for m in modes] for n in modes[0]})
    write_bytes(
        stage.output("posterior.root"),
        posterior_root(tree, _priors(posterior), truth, CITATION),
    )
    by_ordering = {
        name: mixed_tree(posterior, draws, rng, sign)["posterior"].to_dataset()
        for name, sign in (("normal", 1.0), ("inverted", -1.0))
    }
    figures = {
        "triangle": triangle_figure(by_ordering, true),
        "contours": contour_figure(by_ordering, true),
        "phase": phase_figure(phases, draws.probabilities.tolist(), true),
        "spectra": spectra_figure(spectra, summary["p_values"]),
        "nuisances": nuisance_figure(summary["nuisances"]),
    }
    electrons = [n for n in samples.names if n.endswith("_app")]
    if len(electrons) == 2:
        counts = [float(np.sum(observed[name])) for name in electrons]
        curves = _ellipses(posterior, electrons)
        figures["biprobability"] = biprobability_figure(curves, (counts[0], counts[1]))
    images = {name: to_png(figure) for name, figure in figures.items()}
    for name, image in images.items():
        write_bytes(stage.output(f"figures/{name}.png"), image)
    return summary, images


def _ellipses(posterior: ModePosterior, electrons: list[str]) -> xr.Dataset:
    """Return electron-like counts around the circle of dcp, of each ordering and octant."""
    truth = posterior.likelihood.parameters
    dcp = np.linspace(-np.pi, np.pi, _PHASES)
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
    kinds = dict(zip(("neutrino", "antineutrino"), electrons, strict=True))
    return xr.Dataset(
        {kind: (("mode", "dcp"), np.array(counts[name])) for kind, name in kinds.items()},
        {"mode": [mode.name for mode in MODES], "dcp": dcp},
    )


@jax.jit
def _around(
    likelihood: CountedLikelihood, point: OscillationParameters, dcp: Array
) -> dict[str, Array]:
    return jax.lax.map(lambda phase: likelihood.predict(point._replace(dcp=phase)), dcp)


def _priors(posterior: ModePosterior) -> dict[str, Prior]:
    """Return the priors as the export names them; that of dm31 is of its size."""
    found: dict[str, Prior] = {"dcp": Flat(-np.pi, np.pi)}
    for i, name in enumerate(posterior.names):
        if name == "density":
            continue
        flat = Flat(float(posterior.low[i]), float(posterior.high[i]))
        known = Gaussian(float(posterior.mean[i]), float(posterior.sd[i]))
        found[name] = flat if posterior.flat[i] else known
    return found


def in_words(summary: dict[str, Any]) -> str:
    """Say the main results in one line."""
    normal = sum(m["probability"] for m in summary["modes"] if m["ordering"] == "normal")
    upper = sum(m["probability"] for m in summary["modes"] if m["octant"] == "upper")
    low, high = np.degrees(summary["parameters"]["dcp"]["hdi68"])
    return (
        f"normal ordering {normal:.3f}, upper octant {upper:.3f}, dCP {low:.0f} to {high:.0f} "
        "degrees (68 %)"
    )
