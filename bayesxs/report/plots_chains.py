"""Figures that judge a posterior: its chains, and its predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bayesxs.inference.pointwise import reported
from bayesxs.report.draws import COLORS, parameters, posterior
from bayesxs.report.style import (
    CHAINS,
    CROSS_SECTIONS,
    GUIDE,
    LEARNED,
    SHADE,
    TRUTH,
    Plate,
    quantity,
    style,
)
from bayesxs.types import Floats

if TYPE_CHECKING:
    import arviz as az


def trace_figure(tree: xr.DataTree) -> Figure:
    """Draw marginals and traces of every chain, divergences marked.

    Args:
        tree: groups posterior and, where known, sample_stats.
    """
    import arviz as az  # which imports JAX: processes that draw other figures need neither

    names = parameters(tree)
    shown = _labelled(tree, names)
    size = {"figsize": (9.6, 1.75 * len(names) + 0.5)}
    with style():
        collection = az.plot_trace_dist(
            shown,
            compact=False,
            backend="matplotlib",
            figure_kwargs=size,
            aes={"color": ["chain"]},
            color=CHAINS,
            visuals={"trace": {"width": 0.35}, "dist": {"width": 1.2}},
        )
        figure = _detached(collection)
        marginals, traces = figure.axes[::2], figure.axes[1::2]
        for marginal, trace in zip(marginals, traces, strict=True):
            marginal.xaxis.set_major_locator(MaxNLocator(4))
            trace.yaxis.set_major_locator(MaxNLocator(3))
            trace.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
            trace.margins(x=0.01)
            trace.set_xlabel("")
        traces[-1].set_xlabel("draw")
    return figure


def rank_figure(tree: xr.DataTree) -> Figure:
    """Draw how the fractional ranks of each chain depart from uniform.

    Args:
        tree: group posterior.
    """
    import arviz as az

    names = parameters(tree)
    shown = _labelled(tree, names)
    columns = min(len(names), 3)
    rows = -(-len(names) // columns)
    with style():
        collection = az.plot_rank(
            shown,
            backend="matplotlib",
            col_wrap=columns,
            figure_kwargs={"figsize": (max(4.4 * columns, 5.0), 2.7 * rows + 0.4)},
            color=CHAINS,
            visuals={"xlabel": {"text": "fractional rank"}},
        )
        figure = _detached(collection)
        used = [ax for ax in figure.axes if ax.lines]
        for ax in set(figure.axes) - set(used):
            ax.set_axis_off()
        for ax in used:
            ax.spines[:].set_visible(True)
            ax.axhline(0.0, color=GUIDE, lw=0.8, zorder=0)
            ax.yaxis.set_major_locator(MaxNLocator(5, symmetric=True))
            ax.tick_params(axis="y", left=True, labelleft=True)
            for note in ax.texts:
                note.set_text(note.get_text().replace("(", "  ("))
        for ax in used[::columns]:
            ax.set_ylabel(r"$\Delta$ ECDF")
    return figure


def energy_figure(trees: Mapping[str, xr.DataTree]) -> Figure:
    """Draw energies and their changes from draw to draw, of several posteriors.

    Where changes are much narrower, chains walk slowly between levels of the density (Betancourt,
    arXiv:1604.00695). The ratio of mean squares is the fraction of missing information, E-BFMI.

    Args:
        trees: by name, each with group sample_stats.
    """
    import arviz as az

    columns = min(len(trees), 2)
    rows = -(-len(trees) // columns)
    with style():
        figure = Plate(figsize=(4.6 * columns, 2.7 * rows + 0.3))
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax, (name, tree) in zip(axes, trees.items(), strict=False):
            energy = np.asarray(tree["sample_stats"]["energy"].transpose("chain", "draw"), float)
            level, change = (energy - energy.mean()).ravel(), np.diff(energy, axis=1).ravel()
            both: Floats = np.concatenate([level, change])
            edges = np.linspace(
                float(np.quantile(both, 0.001)), float(np.quantile(both, 0.999)), 41
            )
            for values, color, words in (
                (level, SHADE, "energy"),
                (change, LEARNED, "change from draw to draw"),
            ):
                held = np.histogram(values, edges, density=True)[0]
                ax.stairs(held, edges, color=color, fill=words == "energy", lw=1.4, label=words)
            least = float(np.min(np.asarray(az.bfmi(energy))))
            ax.set_title(f"{name}: E-BFMI {least:.2f}")
            ax.set_xlabel("energy about its mean")
            ax.set_yticks([])
        for ax in axes[len(trees) :]:
            ax.set_axis_off()
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def predictive_figure(
    tree: xr.DataTree,
    cross_section: Literal["truth", "learned", "assumed"] = "learned",
    words: Mapping[str, str] = CROSS_SECTIONS,
) -> Figure:
    """Draw observed spectra over the 68 % and 95 % bands of the posterior predictive, and pulls.

    A pull is observed minus predicted mean over the predicted standard deviation, which holds both
    the posterior's spread and counting noise.

    Args:
        tree: groups observed_data and posterior_predictive (lepton_energy_counts and z_counts, or
            reco_lepton_energy_counts and reco_angle_counts) and constant_data (their edges in GeV,
            1 and rad).
        cross_section: which one the posterior was sampled with; sets the color.
        words: what the legend calls it.
    """
    labels = {
        "lepton_energy": r"lepton energy $E_\ell$ [GeV]",
        "angle": r"angle to the beam [rad]",
        "z": r"$z = (E_\ell - p_\ell\cos\theta)/M$",
        "reco_lepton_energy": r"reconstructed lepton energy [GeV]",
        "reco_angle": r"reconstructed angle to the beam [rad]",
    }
    labels = {n: words for n, words in labels.items() if f"{n}_counts" in tree["observed_data"]}
    drawn = reported(tree["posterior_predictive"].dataset)
    with style():
        figure = Plate(figsize=(10.0, 4.9))
        axes = figure.subplots(2, 2, sharex="col", height_ratios=(3, 1.15))
        for (top, bottom), (name, label) in zip(axes.T, labels.items(), strict=True):
            edges = np.asarray(tree["constant_data"][f"{name}_edges"], dtype=float)
            observed = np.asarray(tree["observed_data"][f"{name}_counts"], dtype=float)
            predicted = np.asarray(
                drawn[f"{name}_counts"]
                .transpose("chain", "draw", ...)
                .values.reshape(-1, len(observed)),
                dtype=float,
            )
            _spectrum(top, edges, observed, predicted, COLORS[cross_section])
            _pulls(bottom, edges, observed, predicted)
            bottom.set_xlabel(label)
            last = int(np.searchsorted(np.cumsum(observed), 0.998 * observed.sum())) + 2
            bottom.set_xlim(edges[0], edges[min(last, len(edges) - 1)])
        axes[0, 0].set_ylabel("events per bin")
        axes[1, 0].set_ylabel("pull")
        figure.align_ylabels(axes[:, 0])
        axes[0, 1].legend(loc="upper right", title=f"posterior predictive,\n{words[cross_section]}")
    return figure


def _spectrum(ax: Axes, edges: Floats, observed: Floats, predicted: Floats, color: str) -> None:
    """Draw counts over predictive bands."""
    for mass, alpha in ((0.95, 0.22), (0.68, 0.38)):
        low, high = np.quantile(predicted, [0.5 - 0.5 * mass, 0.5 + 0.5 * mass], axis=0)
        ax.stairs(
            high,
            edges,
            baseline=low,
            fill=True,
            color=color,
            alpha=alpha,
            lw=0,
            label=f"{100 * mass:.0f} %",
        )
    ax.stairs(predicted.mean(axis=0), edges, color=color, lw=1.2, label="mean")
    centers = 0.5 * (edges[1:] + edges[:-1])
    ax.plot(centers, observed, "o", color=TRUTH, ms=3.4, label="observed")
    ax.set_ylim(0.0, 1.12 * max(float(observed.max()), float(predicted.max())))


def _pulls(ax: Axes, edges: Floats, observed: Floats, predicted: Floats) -> None:
    """Draw pulls where something is predicted."""
    spread = predicted.std(axis=0)
    pull = np.full_like(observed, np.nan)
    np.divide(observed - predicted.mean(axis=0), spread, out=pull, where=spread > 0.0)
    ax.axhspan(-2.0, 2.0, color=GUIDE, alpha=0.15, lw=0)
    ax.axhspan(-1.0, 1.0, color=GUIDE, alpha=0.25, lw=0)
    ax.axhline(0.0, color=GUIDE, lw=0.9)
    ax.plot(0.5 * (edges[1:] + edges[:-1]), pull, "o", color=TRUTH, ms=3.0)
    top = max(3.4, 1.1 * float(np.nanmax(np.abs(pull), initial=0.0)))
    ax.set_ylim(-top, top)
    ax.yaxis.set_major_locator(MaxNLocator(5, integer=True, symmetric=True))


def _labelled(tree: xr.DataTree, names: Sequence[str]) -> xr.DataTree:
    """Posterior in shown units with axis labels as names, and its sampler statistics."""
    draws = posterior(tree)
    shown = {quantity(n).axis: draws[n] * quantity(n).scale for n in names}
    groups = {"posterior": xr.Dataset(shown)}
    if "sample_stats" in tree.children:
        groups["sample_stats"] = tree["sample_stats"].to_dataset()
    # ArviZ selects by chain, and needs its numbers as coordinates
    numbered = {
        k: v.assign_coords({d: np.arange(v.sizes[d]) for d in v.dims}) for k, v in groups.items()
    }
    return xr.DataTree.from_dict(numbered)


def _detached(collection: az.PlotCollection) -> Figure:
    """Take the figure out of pyplot's hands, so that it is freed with its last reference."""
    from matplotlib import pyplot as plt

    figure: Figure = collection.viz["figure"].item()
    plt.close(figure)
    return figure
