"""The figures of a run: which its files allow, and how to draw each. Nothing here needs JAX."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from functools import partial

import xarray as xr
from matplotlib.figure import Figure

from bayesxs.cards.card import load_card
from bayesxs.errors import InputError
from bayesxs.report.captions import OF_SAMPLE, Origin
from bayesxs.report.plots_chains import predictive_figure, rank_figure, trace_figure
from bayesxs.report.plots_data import learned_cross_section_figure, near_fit_figure
from bayesxs.report.plots_density import (
    density_figure,
    slices_figure,
    structure_functions_figure,
    total_cross_section_figure,
    training_figure,
)
from bayesxs.report.plots_generated import far_spectrum_figure, generated_cross_section_figure
from bayesxs.report.plots_posterior import (
    asimov_figure,
    comparison_figure,
    octant_figure,
    posterior_figure,
)
from bayesxs.report.plots_ratio import ratio_figure
from bayesxs.report.plots_systematics import (
    budget_figure,
    cancellation_figure,
    pulls_figure,
    sources_figure,
)
from bayesxs.report.style import OF_EVENTS, QUANTITIES
from bayesxs.runs.files import ASIMOV, BANDS, BUDGET, NEAR, TRAINING
from bayesxs.runs.records import joint_part, read_budget
from bayesxs.storage.atomic import read_text
from bayesxs.storage.inner import present
from bayesxs.storage.netcdf import read_tree
from bayesxs.storage.run_folder import CONFIG, RunFolder

# Of longer chains figures show about so many draws of each
MOST_DRAWS = 5_000

# Of a posterior's file what no figure shows, and most of its bytes
UNDRAWN = ("/log_likelihood", "/log_prior", "/prior", "/posterior_predictive/events")


def data_origin(folder: RunFolder) -> Origin:
    """Return what a run's data are made from."""
    card = load_card(folder.path / CONFIG)
    if not card.simulated:
        return "measured"
    return "generated" if card.nature.type == "events" else "simulated"


def budget_figures(folder: RunFolder) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """List the figures of a run's budget of uncertainties."""
    budget, bands = read_budget(folder.path / BUDGET), read_tree(folder.path / BANDS)
    yield "budget", lambda: budget_figure(budget)
    yield "pulls", lambda: pulls_figure(budget)
    for name, own in by_sample(bands, "spectrum"):
        yield f"sources{name}", partial(sources_figure, own["spectrum"].dataset)
        if "flux" in own.children:
            yield f"cancellation{name}", partial(cancellation_figure, own["flux"].dataset)


def by_sample(tree: xr.DataTree, group: str) -> list[tuple[str, xr.DataTree]]:
    """List the part of each sample: what its figures' stems end with, and its groups.

    Of one sample the groups are at the root, and stems end with nothing.

    Args:
        tree: of a file that describes samples.
        group: one that every sample has.
    """
    if group in tree.children:
        return [("", tree)]
    return [(_ending(name), own) for name, own in tree.children.items() if group in own.children]


def _ending(name: object) -> str:
    """Return how stems of a sample's or a target's figures end; they become names of files.

    Raises:
        InputError: no such name.
    """
    if not re.fullmatch(r"(anti_)?(e|mu|tau)(_to_(e|mu|tau))?", str(name)):
        raise InputError.at("figures", "sample", str(name), "such as mu_to_e or anti_mu_to_mu")
    return f"{OF_SAMPLE}{name}"


def _spectra(tree: xr.DataTree) -> Iterator[tuple[str, xr.DataTree]]:
    """Yield the predictive spectra of each sample, as `by_sample` lists them."""
    groups = ("observed_data", "posterior_predictive", "constant_data")
    data = {group: tree[group].dataset for group in groups}
    if "sample" not in data["observed_data"].dims:
        yield "", tree
        return
    for name in data["observed_data"]["sample"].values:
        yield (
            _ending(name),
            xr.DataTree.from_dict({g: d.sel(sample=name) for g, d in data.items()}),
        )


def known_values(tree: xr.DataTree) -> dict[str, float] | None:
    """Return what the events were simulated with; nothing where they come from a file."""
    if not tree.attrs["source"].startswith("simulated"):
        return None
    constants = tree["constant_data"].dataset
    return {n: float(constants[f"true_{n}"]) for n in QUANTITIES}


def _cross_section_figures(
    name: str, sample: xr.DataTree
) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """List the figures of a sample's densities and cross section; stems end with `name`."""
    density, functions = sample["density"].dataset, sample["structure_functions"].dataset
    total = sample["total"].dataset
    yield f"density_near{name}", lambda: density_figure(density, "near")
    yield f"density_far{name}", lambda: density_figure(density, "far")
    yield f"slices{name}", lambda: slices_figure(sample["slices"].dataset)
    yield f"total_cross_section{name}", lambda: total_cross_section_figure(total)
    yield f"structure_functions{name}", lambda: structure_functions_figure(functions)
    yield f"structure_functions_weighted{name}", lambda: structure_functions_figure(functions, True)


def figures(folder: RunFolder) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """List the figures that a run's files allow, each by its stem and how to draw it."""
    origin = data_origin(folder)
    if origin != "simulated":
        yield from (_figures_of_data if origin == "measured" else _figures_of_events)(folder)
        return
    near = read_tree(folder.path / NEAR)
    trees = {
        kind: read_tree(path, MOST_DRAWS, UNDRAWN)
        for kind in ("truth", "learned", "assumed")
        if present(path := folder.path / f"posterior_{kind}.nc")
    }
    asimov = read_tree(folder.path / ASIMOV, MOST_DRAWS)
    shifts = folder.note("posterior", "summary", "asimov", "shift_sigma")
    yield "posterior", lambda: posterior_figure(trees["truth"], trees["learned"])
    if "octant_upper_probability" in trees["truth"]["posterior"].dataset:
        yield "octant", lambda: octant_figure(trees["truth"], trees["learned"])
    if "assumed" in trees:
        yield "comparison", lambda: comparison_figure(trees, known_values(trees["truth"]))
    yield "asimov", lambda: asimov_figure(asimov, shifts)
    for name, spectra in _spectra(trees["learned"]):
        yield f"predictive{name}", partial(predictive_figure, spectra, "learned")
    for name, spectra in _spectra(trees["truth"]):
        yield f"predictive_truth{name}", partial(predictive_figure, spectra, "truth")
    for name, own in by_sample(near, "density"):
        yield from _cross_section_figures(name, own)
    yield from _fits(near, ("ratio", "cross_section_ratio", ratio_figure))
    if "budget" in folder.stages:
        yield from budget_figures(folder)
    yield from _joint(folder)
    yield from _training(folder)
    for kind in ("learned", "truth"):
        yield f"trace_{kind}", lambda kind=kind: trace_figure(trees[kind])  # type: ignore[misc]
        if trees[kind]["posterior"].sizes["chain"] > 1:  # ranks compare chains
            yield f"rank_{kind}", lambda kind=kind: rank_figure(trees[kind])  # type: ignore[misc]


def _joint(folder: RunFolder) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """Yield the figure of flux nuisances in a joint model of near and far data, if it is one."""
    joint = joint_part(folder)
    if joint:
        flux = [row for row in joint["nuisances"].values() if row["group"] == "flux"]
        yield "joint", lambda: pulls_figure({"nuisances": flux})


def _training(folder: RunFolder) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """Yield the figure of the first network's training of every target, if there was any."""
    if not present(folder.path / TRAINING):
        return
    rows = list(csv.DictReader(read_text(folder.path / TRAINING).splitlines()))
    samples = folder.note("density").get("samples", {})
    owned = (folder.note("density", "samples", name, "target") for name in samples)
    targets = list(dict.fromkeys(owned)) or [""]
    for number, target in enumerate(targets):
        first = [r for r in rows if r["target"] == str(number) and r["member"] == "0"]
        columns = {name: [float(r[name]) for r in first] for name in first[0]}
        name = _ending(target) if len(targets) > 1 else ""
        yield f"training{name}", partial(training_figure, columns)


def _figures_of_events(folder: RunFolder) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """List the figures of a run on a generator's events, which are compared with its template."""
    near, asimov = read_tree(folder.path / NEAR), read_tree(folder.path / ASIMOV, MOST_DRAWS)
    trees = {
        kind: read_tree(path, MOST_DRAWS, UNDRAWN)
        for kind in ("truth", "learned", "assumed")
        if present(path := folder.path / f"posterior_{kind}.nc")
    }
    template, learned, words = trees["truth"], trees["learned"], OF_EVENTS
    shifts = folder.note("posterior", "summary", "asimov", "shift_sigma")
    yield "posterior", lambda: posterior_figure(template, learned, words)
    if "octant_upper_probability" in template["posterior"].dataset:
        yield "octant", lambda: octant_figure(template, learned, words)
    if "assumed" in trees and {"sin2_2theta23", "dm31"} <= set(learned["posterior"].data_vars):
        values = known_values(learned)
        yield "comparison", lambda: comparison_figure(trees, values, words=words)
    yield "asimov", lambda: asimov_figure(asimov, shifts, words)
    for name, spectra in _spectra(learned):
        yield f"predictive{name}", partial(predictive_figure, spectra, "learned", words)
    yield from _fits(
        near,
        ("near", "near_fit", near_fit_figure),
        ("far", "far_spectrum", far_spectrum_figure),
        ("total", "total_cross_section", generated_cross_section_figure),
        ("ratio", "cross_section_ratio", ratio_figure),
    )
    if "budget" in folder.stages:
        yield from budget_figures(folder)
    yield from _joint(folder)
    yield from _training(folder)
    yield "trace_learned", lambda: trace_figure(learned)
    if learned["posterior"].sizes["chain"] > 1:
        yield "rank_learned", lambda: rank_figure(learned)


def _fits(
    near: xr.DataTree, *drawn: tuple[str, str, Callable[[xr.Dataset], Figure]]
) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """List figures of groups of near_detector.nc, each of its targets or samples.

    Args:
        near: the file.
        drawn: name of a group, stem, and how to draw a dataset of it.
    """
    for group, stem, draw in drawn:
        names = list(near[group].children) if group in near.children else []
        for name in names:
            data = near[f"{group}/{name}"].dataset
            yield f"{stem}__{name}" if len(names) > 1 else stem, partial(draw, data)


def _figures_of_data(folder: RunFolder) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """List the figures of a run whose data come from files: nothing is compared with a truth."""
    near = read_tree(folder.path / NEAR)
    trees = {
        kind: read_tree(folder.path / f"posterior_{kind}.nc", MOST_DRAWS, UNDRAWN)
        for kind in ("learned", "assumed")
        if f"posterior_{kind}.nc" in folder.stages["posterior"]["outputs"]
    }
    learned, draws = trees["learned"], trees["learned"]["posterior"].dataset
    yield "posterior", lambda: posterior_figure(None, learned)
    if "octant_upper_probability" in draws:
        yield "octant", lambda: octant_figure(None, learned)
    if "assumed" in trees and {"sin2_2theta23", "dm31"} <= set(draws.data_vars):
        yield "comparison", lambda: comparison_figure(trees, known_values(learned))
    yield "predictive", lambda: predictive_figure(learned, "learned")
    yield from _fits(
        near,
        ("near", "near_fit", near_fit_figure),
        ("total", "total_cross_section", learned_cross_section_figure),
        ("ratio", "cross_section_ratio", ratio_figure),
    )
    if "budget" in folder.stages:
        yield from budget_figures(folder)
    yield from _joint(folder)
    if load_card(folder.path / CONFIG).near.file:  # else training compared with a parton model
        yield from _training(folder)
    yield "trace_learned", lambda: trace_figure(learned)
    if draws.sizes["chain"] > 1:
        yield "rank_learned", lambda: rank_figure(learned)
