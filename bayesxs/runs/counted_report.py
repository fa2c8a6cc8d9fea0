"""Figures, tables and page of a posterior over orderings and octants, from the files of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from bayesxs.cards.counted import load_counted_card
from bayesxs.errors import InputError, words
from bayesxs.inference.circle import about, mean_direction
from bayesxs.inference.mode_trees import given, mixed_tree, mode_probabilities
from bayesxs.keys import Purpose, derive, generator
from bayesxs.report.contour_tables import contour_columns, release
from bayesxs.report.contours import PLANES, contours
from bayesxs.report.modes import excluded, render_modes
from bayesxs.report.numbers import region
from bayesxs.report.plots_chains import energy_figure, rank_figure, trace_figure
from bayesxs.report.plots_modes import (
    biprobability_figure,
    contour_figure,
    nuisance_figure,
    one_row_a_group,
    phase_figure,
    spectra_figure,
    triangle_figure,
)
from bayesxs.report.style import to_png
from bayesxs.runs.records import read_counted_summary
from bayesxs.storage.atomic import read_text, write_bytes, write_csv, write_text
from bayesxs.storage.inner import entries, present, remove
from bayesxs.storage.manifest import package_version
from bayesxs.storage.netcdf import read_dataset, read_tree
from bayesxs.storage.run_folder import CONFIG, RunFolder, content_key
from bayesxs.types import Floats, Json

STAGE: Final = "posterior"
REPORT: Final = "report.html"
POSTERIOR: Final = "posterior.nc"
MODE_DRAWS: Final = "modes.nc"
PHASES: Final = "phases.nc"
ELECTRONS: Final = "electrons.nc"
SUMMARY: Final = "summary.json"
RELEASE: Final = "hepdata.zip"
# Of the files of a posterior; raised when they or what they hold change, so that they are made anew
LAYOUT: Final = 2
# Chains of modes as probable as this are shown
_ALIVE: Final = 0.01
# What figures take
_GROUPS: Final = {
    POSTERIOR: ("posterior", "observed_data", "posterior_predictive", "constant_data"),
    MODE_DRAWS: ("posterior", "sample_stats"),
}


def report_key(folder: RunFolder) -> str:
    """Return the content key of a report on the posterior that a folder holds."""
    upstream = {STAGE: folder.stages[STAGE]["key"]} if STAGE in folder.stages else {}
    return content_key(
        "report", sections={}, upstream=upstream, versions={"bayesxs": package_version()}
    )


def read_summary(folder: RunFolder) -> Json:
    """Return the summary of a posterior, with all that figures and page take.

    Raises:
        InputError: no posterior is finished, or the file was changed or lacks something.
    """
    return read_counted_summary(folder.output(SUMMARY))


def _read(folder: RunFolder, name: str) -> xr.DataTree:
    """Return a tree of a posterior with all groups that figures take."""
    path = folder.output(name)
    tree = read_tree(path)
    _require(path, dict(tree.children), _GROUPS[name], "group ")
    return tree


def _require(path: Path, held: object, names: Iterable[str], place: str = "") -> None:
    """Refuse a file of somebody else's, or of another version, that lacks something."""
    for name in names:
        if not isinstance(held, Mapping) or name not in held:
            allowed = f"damaged, or of another version: choose another {words().out}"
            raise InputError.at(path, f"{place}{name}", "(missing)", allowed)


def write_report(folder: RunFolder) -> str:
    """Write figures, tables of contours, and the page; return the result in words.

    Raises:
        InputError: no posterior is finished, or a file of it was changed.
    """
    folder.check_outputs(STAGE)
    with folder.stage("report", report_key(folder)) as stage:
        drawn = dict(counted_figures(folder))
        for old in entries(folder.path / "figures"):
            if old.endswith(".png") and old.removesuffix(".png") not in drawn:
                remove(folder.path / "figures" / old)
        images = {name: to_png(draw()) for name, draw in drawn.items()}
        for name, image in images.items():
            write_bytes(stage.output(f"figures/{name}.png"), image)
        summary = read_summary(folder)
        orderings = by_ordering(folder)
        lines = {
            plane: [c for name, draws in orderings.items() for c in contours(draws, plane, name)]
            for plane in PLANES
        }
        for plane, found in lines.items():
            write_csv(stage.output(f"contours_{'_'.join(plane)}.csv"), contour_columns(found))
        phases = read_dataset(folder.output(PHASES))
        archive = release([c for found in lines.values() for c in found], summary, phases)
        write_bytes(stage.output(RELEASE), archive)
        page = render_modes(
            summary, folder.manifest, read_text(folder.path / CONFIG), images, folder.path.name
        )
        write_text(stage.output(REPORT), page)
    return in_words(summary)


def by_ordering(folder: RunFolder) -> dict[str, xr.Dataset]:
    """Return the posterior given each ordering whose chains moved."""
    seed = load_counted_card(folder.path / CONFIG).seed
    rng = generator(derive(seed, Purpose.PREDICTIVE))
    tree = _read(folder, MODE_DRAWS)
    found = {
        name: mixed_tree(tree, rng, name)["posterior"].to_dataset()
        for name in ("normal", "inverted")
    }
    # Others have no density
    return {name: draws for name, draws in found.items() if np.ptp(draws["dcp"].values) > 0.0}


def counted_figures(folder: RunFolder) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """List the figures of a run of samples, each by its stem and how to draw it."""
    summary, tree = read_summary(folder), _read(folder, POSTERIOR)
    modes, phases = _read(folder, MODE_DRAWS), read_dataset(folder.output(PHASES))
    constants = tree["constant_data"].dataset
    samples = [str(n).removesuffix("_edges") for n in constants if str(n).endswith("_edges")]
    _require(folder.output(SUMMARY), summary["p_values"], samples, "p_values.")
    true = {
        str(n).removeprefix("true_"): float(v)
        for n, v in constants.data_vars.items()
        if str(n).startswith("true_")
    }
    orderings = by_ordering(folder)
    probabilities = mode_probabilities(modes)[0]
    yield "triangle", lambda: triangle_figure(orderings, true)
    yield "contours", lambda: contour_figure(orderings, true)
    yield "phase", lambda: phase_figure(phases, probabilities.tolist(), true)
    if present(folder.path / ELECTRONS):
        curves = read_dataset(folder.output(ELECTRONS))
        counts = float(curves["neutrino_data"]), float(curves["antineutrino_data"])
        words = "expected data" if None in summary["p_values"].values() else "data"
        yield "biprobability", lambda: biprobability_figure(curves, counts, words)
    spectra = {
        name: (
            np.asarray(constants[f"{name}_edges"], float),
            np.asarray(tree["observed_data"].dataset[f"{name}_counts"], float),
            replicas(tree, name),
        )
        for name in summary["p_values"]
        if name in samples
    }
    edges = constants[f"{next(iter(spectra))}_edges"]
    axis = edges.attrs.get("long_name", "reconstructed energy")  # older runs know no other
    yield "spectra", lambda: spectra_figure(spectra, summary["p_values"], axis)
    if summary["nuisances"]:
        shown = one_row_a_group(summary["nuisances"], ("cross_section", "lepton_ratio"))
        yield "nuisances", lambda: nuisance_figure(shown)
    named = dict(zip(modes.dataset["mode"].values.tolist(), probabilities, strict=True))
    chains = {name: _on_a_line(given(modes, name)) for name in named}
    for name in (n for n, p in named.items() if p > _ALIVE):
        stem = name.replace(", ", "_")
        yield f"trace-{stem}", partial(trace_figure, chains[name])
        if chains[name]["posterior"].sizes["chain"] > 1:  # ranks compare chains
            yield f"rank-{stem}", partial(rank_figure, chains[name])
    yield "energy", lambda: energy_figure(chains)


def replicas(tree: xr.DataTree, sample: str) -> Floats:
    """Return replicated counts of a sample from draws of all chains, (draws, bins)."""
    counts = tree["posterior_predictive"].dataset[f"{sample}_counts"]
    ordered = counts.transpose("chain", "draw", counts.dims[-1])
    return np.asarray(ordered, float).reshape(-1, counts.shape[-1])


def _on_a_line(tree: xr.DataTree) -> xr.DataTree:
    """Return draws with dcp about its mean direction, so that no seam cuts a chain."""
    draws = tree["posterior"].to_dataset()
    dcp = draws["dcp"].values
    draws["dcp"] = draws["dcp"].dims, about(dcp, mean_direction(dcp.ravel()))
    return xr.DataTree.from_dict(
        {"posterior": draws, "sample_stats": tree["sample_stats"].to_dataset()}
    )


def in_words(summary: Json) -> str:
    """Say the main results in one line."""
    normal = sum(m["probability"] for m in summary["modes"] if m["ordering"] == "normal")
    upper = sum(m["probability"] for m in summary["modes"] if m["octant"] == "upper")
    phase = region(summary["parameters"]["dcp"], "hdi68", float(np.degrees(1.0)))
    found = f"normal ordering {normal:.3f}, upper octant {upper:.3f}, dCP in degrees {phase} (68 %)"
    excludes = excluded(summary)
    return f"{found}. {excludes}" if excludes else found
