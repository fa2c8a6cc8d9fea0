"""Draw the figures of the chapters on the method, the nucleus and generators.

bayesxs run models/dune-toy.toml --out runs/toy
python docs/figures.py runs/toy
python docs/figures.py --nucleus generator    # a folder with samples of NuWro and Achilles
python docs/figures.py --ridges
python docs/figures.py --generators runs/nuwro

where runs/nuwro is models/nuwro-closure.toml with 2 chains of 300 + 500 steps; a second folder adds
a panel of posteriors.
"""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import bayesxs
from bayesxs.inputs.pdf import embedded_ct18nnlo
from bayesxs.physics.cross_section import density_of_transfer, total_cross_section
from bayesxs.physics.nucleus import ChannelName, Nucleus
from bayesxs.physics.structure_functions import StructureFunctions
from bayesxs.report.draws import posterior
from bayesxs.report.hdr import Support, smooth
from bayesxs.runs.files import ASIMOV
from bayesxs.storage.netcdf import read_tree

TRUTH, LEARNED, SHADE = "#2f3640", "#d9541e", "#9fb6cd"
MUON, NUCLEON = 0.1056584, 0.9389187  # masses in GeV
EVENTS = ((0.6, 20), (1.5, 15), (3.0, 25))  # muon energy in GeV, angle in degrees
FOLDER = Path(__file__).parent / "explanation"

# Channels of the nucleus, those of NuWro that they stand for, and a color
PARTS: tuple[tuple[str, tuple[ChannelName, ...], tuple[str, ...], str], ...] = (
    ("quasi-elastic", ("quasi_elastic",), ("qe",), "#2a6db0"),
    ("Delta and inelastic", ("delta", "inelastic"), ("res", "dis"), LEARNED),
    ("sum", ("quasi_elastic", "delta", "inelastic"), ("qe", "res", "dis"), TRUTH),
)
SLICES = ((0.95, 1.0), (0.8, 0.95), (0.4, 0.8))  # of cos theta
SLICE_ENERGY, SLICE_WIDTH = 2.0, 0.25  # neutrino energy in GeV: middle, and width of its bin


def fluxes(near: xr.DataTree) -> Figure:
    """Draw the flux with and without oscillation, and the densities of the lepton energy."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    total = near["total"].dataset.sortby("energy")
    energy, flux = total["energy"].values, total["flux"].values / total["flux"].values.max()
    left.fill_between(energy, flux, color=SHADE, label=r"$\phi(E)$")
    left.plot(energy, flux * total["probability"].values, color=TRUTH, label=r"$\phi(E)\,P(E)$")
    left.set(xlabel="neutrino energy $E$ (GeV)", ylabel="flux / its maximum", ylim=(0, None))
    density = near["density"].dataset
    for place, style in (("near", SHADE), ("far", LEARNED)):
        curves = [density[f"{place}_{kind}"].integrate("z") for kind in ("model", "truth")]
        axis = density["lepton_energy"].values
        right.plot(axis, curves[0], color=style, linewidth=2.5, label=f"{place} detector")
        right.plot(axis, curves[1], color=TRUTH, linewidth=1, linestyle="--")
    right.set(xlabel=r"muon energy $E_\ell$ (GeV)", ylabel="density (1/GeV)", ylim=(0, None))
    for axes in (left, right):
        axes.set_xlim(0, 8)
        axes.legend(frameon=False)
    return figure


def nodes(near: xr.DataTree) -> Figure:
    """Draw the nodes that the near detector sees, and where single events may come from."""
    functions = near["structure_functions"].dataset
    x, q2 = np.meshgrid(functions["x"].values, functions["q2"].values, indexing="ij")
    seen = np.isfinite(functions["weight"].values).all(axis=0)
    figure, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    axes.scatter(x[seen], q2[seen], s=4, color=SHADE, linewidths=0, label="nodes")
    return lines_of_events(figure, axes, 1.0)


def ridges() -> Figure:
    """Draw the nodes of a nucleus that the near detector sees, and the same events."""
    flux, pdf = bayesxs.dune_flux("neutrino"), bayesxs.ct18nnlo()
    geometry = bayesxs.Experiment(flux, Nucleus(pdf)).geometries["mu"]
    matrix = geometry.spectrum.matrix(geometry.target.near_flux)
    seen = np.unique(matrix.indices // 3)
    figure, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    x, q2 = geometry.nodes.x[seen], geometry.nodes.q2[seen]
    axes.scatter(x, q2, s=2, color=SHADE, linewidths=0, label="nodes")
    return lines_of_events(figure, axes, geometry.space.x_max)


def lines_of_events(figure: Figure, axes: plt.Axes, x_max: float) -> Figure:
    """Draw the lines along which three events may lie."""
    for (muon, degrees), color in zip(EVENTS, (TRUTH, LEARNED, "#2a6db0"), strict=True):
        energy = np.linspace(muon + 1e-3, 10.0, 4000)
        momentum = np.sqrt(muon**2 - MUON**2)
        q2_line = 2.0 * energy * (muon - momentum * np.cos(np.deg2rad(degrees))) - MUON**2
        x_line = q2_line / (2.0 * NUCLEON * (energy - muon))
        inside = x_line < x_max
        label = rf"$E_\ell = {muon:g}$ GeV, $\theta = {degrees}$°"
        axes.plot(x_line[inside], q2_line[inside], color=color, label=label)
    axes.set(
        xscale="log", yscale="log", xlabel="$x$", ylabel="$Q^2$ (GeV²)", xlim=(5e-3, 1.1 * x_max)
    )
    axes.set_ylim(5e-3, 25)
    axes.legend(frameon=False, loc="upper left")
    return figure


def jitted(channels: tuple[ChannelName, ...], antineutrino: bool = False) -> StructureFunctions:
    """Compile the structure functions of argon that a muon sees."""
    argon = Nucleus(embedded_ct18nnlo(), 18.0, 22.0)
    return jax.jit(argon.structure_functions(MUON, antineutrino, channels).__call__)


def totals(axes: plt.Axes, table: Path, antineutrino: bool) -> None:
    """Draw sigma/E of the channels, lines, over that of NuWro, points."""
    rows = np.genfromtxt(table, delimiter=",", names=True)
    middle = 0.5 * (rows["E_low_GeV"] + rows["E_high_GeV"])
    energy = np.geomspace(0.3, 20.0, 40)
    for label, channels, names, color in PARTS:
        sigma = total_cross_section(jitted(channels, antineutrino), energy, MUON, 64)
        axes.plot(energy, sigma / 40.0 / energy, color=color, label=label)
        theirs = sum(rows[f"{name}_1e38cm2_per_nucleon"] for name in names)
        errors = np.sqrt(sum(rows[f"{name}_mc_error"] ** 2 for name in names))
        axes.errorbar(middle, theirs / middle, errors / middle, fmt=".", ms=4, color=color)
    axes.set(xscale="log", xlabel="neutrino energy (GeV)", ylim=(0, None))
    axes.set_xticks((0.3, 1, 3, 10), ("0.3", "1", "3", "10"))
    axes.set_ylabel(r"$\sigma/E$ per nucleon ($10^{-38}$ cm²/GeV)")
    axes.set_title("antineutrinos" if antineutrino else "neutrinos", fontsize="medium")


def slice_of_model(sf: StructureFunctions, lepton: np.ndarray, cosines: tuple[float, float]):
    """Return ds/dE_l in a bin of cos theta, in 1e-38 cm^2/GeV per nucleon."""
    t, share = np.polynomial.legendre.leggauss(24)
    low, high = cosines
    cosine = 0.5 * (low + high) + 0.5 * (high - low) * t
    momentum = np.sqrt(lepton**2 - MUON**2)[:, None]
    q2 = 2.0 * SLICE_ENERGY * (lepton[:, None] - momentum * cosine) - MUON**2
    nu = np.broadcast_to((SLICE_ENERGY - lepton)[:, None], q2.shape)
    density = density_of_transfer(sf, SLICE_ENERGY, nu, q2, MUON)
    return np.asarray(2.0 * SLICE_ENERGY * momentum * density) @ share * 0.5 * (high - low) / 40.0


def slices(axes: plt.Axes, folder: Path, cosines: tuple[float, float]) -> None:
    """Draw ds/dE_l in a bin of cos theta: lines, NuWro (points) and Achilles (crosses)."""
    lepton = np.linspace(MUON + 0.01, SLICE_ENERGY - 0.005, 150)
    for _, channels, _, color in (PARTS[0], PARTS[2]):
        axes.plot(lepton, slice_of_model(jitted(channels), lepton, cosines), color=color)
    edges = np.linspace(0.2, 2.0, 31)
    for file, sigma_file, marker in (
        ("nuwro_ar40_numu_duneND.npz", "nuwro_ar40_numu_sigma.csv", "."),
        ("achilles_ar40_numu_duneND_qe.npz", "achilles_ar40_numu_qe_sigma.csv", "x"),
    ):
        rows = np.genfromtxt(folder / sigma_file, delimiter=",", names=True)
        with np.load(folder / file) as events:
            energy, cosine = events["E_nu"], events["cos_theta"]
            near = np.abs(energy - SLICE_ENERGY) < 0.5 * SLICE_WIDTH
            # the muon's energy at the middle of the bin, at the same energy transfer
            lepton_energy = events["E_l"][near] - energy[near] + SLICE_ENERGY
            channel = events["channel"][near]
            weight = events["weight"][near] if "weight" in events else np.ones(near.sum())
            inside = (cosine[near] > cosines[0]) & (cosine[near] <= cosines[1])
        beside = np.abs(0.5 * (rows["E_low_GeV"] + rows["E_high_GeV"]) - SLICE_ENERGY) < 0.2
        elastic = np.mean(rows["qe_1e38cm2_per_nucleon"][beside])
        scale = elastic / weight[channel == 0].sum() / np.diff(edges)
        for (_, _, names, color), last in ((PARTS[0], 0), (PARTS[2], 2)):
            if len(names) > 1 and marker == "x":
                continue
            chosen = inside & (channel <= last)
            counts, _ = np.histogram(lepton_energy[chosen], edges, weights=weight[chosen])
            axes.plot(0.5 * (edges[1:] + edges[:-1]), counts * scale, marker, ms=4, color=color)
    axes.set(xlabel=r"muon energy (GeV)", ylim=(0, None), xlim=(0.1, 2.0))
    axes.set_title(rf"${cosines[0]:g} < \cos\theta < {cosines[1]:g}$", fontsize="medium")


def nucleus(folder: Path) -> Figure:
    """Draw the built-in nucleus over the events of two generators."""
    figure, axes = plt.subplots(2, 3, figsize=(10, 6.2), layout="constrained")
    for place, flavor in zip(axes[0], ("numu", "numubar"), strict=False):
        totals(place, folder / f"nuwro_ar40_{flavor}_sigma.csv", flavor == "numubar")
    handles, _ = axes[0, 0].get_legend_handles_labels()
    marks = (("NuWro", "."), ("Achilles, quasi-elastic", "x"))
    handles += [
        plt.Line2D([], [], color="gray", marker=marker, linestyle="", label=name)
        for name, marker in marks
    ]
    axes[0, 2].axis("off")
    axes[0, 2].legend(handles=handles, frameon=False, loc="center left")
    for place, cosines in zip(axes[1], SLICES, strict=True):
        slices(place, folder, cosines)
    axes[1, 0].set_ylabel(r"$d\sigma/dE_\mu$ at 2 GeV ($10^{-38}$ cm²/GeV)")
    return figure


def shares(data: xr.Dataset, names: tuple[str, ...], axis: str) -> tuple[np.ndarray, ...]:
    """Return edges of the lepton energy, and for each name its sum over the other variable."""
    low, high = (data[axis].sel(side=side).values for side in ("low", "high"))
    starts, bins = np.unique(low.round(9), return_inverse=True)
    edges = np.append(starts, high.max())
    return edges, *(np.bincount(bins, data[name].values) for name in names)


def beside(axes: tuple[plt.Axes, plt.Axes], edges: np.ndarray, theirs, ours, error) -> None:
    """Draw the generator's spectrum (dark) and the learned one, and the ratio of the two below."""
    top, bottom = axes
    width = np.diff(edges)
    top.stairs(theirs / width, edges, color=TRUTH, lw=2.2, label="generated")
    top.stairs(ours / width, edges, color=LEARNED, lw=1.2, label="learned")
    seen = theirs > 2e-3 * theirs.max()
    one = np.where(theirs > 0.0, theirs, 1.0)
    wide = np.where(seen, error / one, 0.0)
    step = [np.append(1.0 + sign * wide, 1.0 + sign * wide[-1]) for sign in (-1.0, 1.0)]
    bottom.fill_between(edges, *step, step="post", color=SHADE, alpha=0.6, lw=0)
    bottom.stairs(np.where(seen, ours / one, np.nan), edges, color=LEARNED, lw=1.2)
    bottom.axhline(1.0, color=TRUTH, lw=0.8)
    bottom.set(xlabel=r"muon energy $E_\ell$ (GeV)", xlim=(0.0, min(edges[1:][seen][-1], 8.0)))
    bottom.set_ylabel("learned / generated")
    top.set_ylim(0.0, None)
    top.legend(frameon=False)


def generated_spectra(near: xr.DataTree) -> Figure:
    """Draw near counts and expected far shares over the muon's energy, with statistical errors."""
    figure, axes = plt.subplots(
        2, 2, figsize=(9, 4.6), height_ratios=(2.2, 1), sharex="col", layout="constrained"
    )
    edges, counts, expected = shares(near["near/mu"].dataset, ("counts", "expected"), "energy")
    beside(axes[:, 0], edges, counts / 1e3, expected / 1e3, np.sqrt(counts) / 1e3)
    far = near["far/mu_to_mu"].dataset
    edges = np.append(far["low"].values, far["high"].values[-1])
    generated, learned, statistical = (
        far[n].values for n in ("generated", "learned", "statistical")
    )
    beside(axes[:, 1], edges, generated, learned, statistical)
    axes[0, 0].set(ylabel="thousand events per GeV", title="near detector, half of the events")
    axes[0, 1].set(ylabel="share per GeV", title="far detector, from the other half")
    axes[1, 0].set_ylim(0.95, 1.05)
    axes[1, 1].set_ylim(0.8, 1.2)
    return figure


def generated_total(near: xr.DataTree) -> Figure:
    """Draw the learned total cross section over the generated one, with its 68 % and 95 % bands."""
    total = near["total/mu"].dataset
    energy, low, high = (total[n].values for n in ("energy", "low", "high"))
    generated, learned, sd, error, flux = (
        total[n].values for n in ("generated", "learned", "sd", "error", "flux")
    )
    figure, axes = plt.subplots(figsize=(7.4, 3.6), layout="constrained")
    behind = axes.twinx()
    rate = flux * generated
    behind.fill_between(energy, rate / rate.max(), color=SHADE, alpha=0.35, lw=0)
    behind.set(ylim=(0.0, 2.2), yticks=())
    axes.set_zorder(behind.get_zorder() + 1)
    axes.patch.set_visible(False)
    ratio, relative = learned / generated, sd / generated
    for factor, shade in ((1.96, 0.18), (1.0, 0.35)):
        spread = (ratio - factor * relative, ratio + factor * relative)
        axes.fill_between(energy, *spread, color=LEARNED, alpha=shade, lw=0)
    axes.plot(energy, ratio, color=LEARNED, label="learned, with 68 % and 95 % bands")
    span = (energy - low, high - energy)
    size = error / generated
    axes.errorbar(
        energy,
        np.ones(len(energy)),
        size,
        span,
        fmt=".",
        ms=3,
        lw=0.9,
        color=TRUTH,
        label="generated",
    )
    for level in (0.95, 1.05):
        axes.axhline(level, color=TRUTH, lw=0.7, ls=":")
    axes.set(xscale="log", xlabel="neutrino energy (GeV)", ylabel=r"$\sigma$ learned / generated")
    axes.set(xlim=(low[0], high[-1]), ylim=(0.6, 1.2))
    axes.set_xticks((0.5, 1, 2, 3, 5, 10), ("0.5", "1", "2", "3", "5", "10"))
    axes.minorticks_off()
    axes.legend(frameon=False, loc="upper center")
    return figure


def region(axes: plt.Axes, draws: xr.Dataset, color: str, label: str) -> None:
    """Draw the 68 % and 95 % regions of sin^2 2theta23 and dm31 that Asimov data leave."""
    points = np.stack(
        [draws["sin2_2theta23"].values.ravel(), 1e3 * draws["dm31"].values.ravel()], axis=1
    )
    found = smooth(points, (Support(None, 1.0), Support()))
    levels = [found.level(0.95), found.level(0.68)]
    axes.contourf(
        *found.axes,
        found.density.T,
        [*levels, found.density.max() * 1.01],
        colors=color,
        alpha=0.22,
    )
    axes.contour(*found.axes, found.density.T, levels, colors=color, linewidths=1.3)
    axes.plot([], [], color=color, label=label)


def generated_posteriors(runs: list[bayesxs.Run]) -> Figure:
    """Draw what expected far data tell with cross sections learned, generated and assumed."""
    figure, axes = plt.subplots(
        1, len(runs), figsize=(1.2 + 4.0 * len(runs), 3.9), layout="constrained", squeeze=False
    )
    for place, run in zip(axes[0], runs, strict=True):
        tree, card = read_tree(run.path / ASIMOV), run.card
        other = "another generator" if card.assumed.type == "events" else "partons"
        for kind, color, label in (
            ("assumed", "#2a6db0", f"{other} assumed"),
            ("truth", TRUTH, "the generator's own"),
            ("learned", LEARNED, "learned from near events"),
        ):
            region(place, posterior(tree[kind]), color, label)
        channels = ", ".join(card.nature.channels) or "all"
        place.set(xlabel=r"$\sin^2 2\theta_{23}$", title=f"channels: {channels}")
        place.legend(frameon=False, loc="lower left")
    axes[0, 0].set_ylabel(r"$\Delta m^2_{31}$ ($10^{-3}$ eV²)")
    return figure


def generators(folders: list[str]) -> None:
    """Draw the figures of runs on a generator's events; spectra and total are the first one's."""
    runs = [bayesxs.open_run(folder) for folder in folders]
    near = runs[0].near_detector
    for name, figure in (
        ("spectra", generated_spectra(near)),
        ("total", generated_total(near)),
        ("posteriors", generated_posteriors(runs)),
    ):
        figure.savefig(FOLDER / f"generators_{name}.png", dpi=110)


if __name__ == "__main__":
    if sys.argv[1] == "--nucleus":
        jax.config.update("jax_enable_x64", True)
        nucleus(Path(sys.argv[2])).savefig(FOLDER / "nucleus.png", dpi=130)
    elif sys.argv[1] == "--ridges":
        jax.config.update("jax_enable_x64", True)
        ridges().savefig(FOLDER / "ridges.png", dpi=130)
    elif sys.argv[1] == "--generators":
        generators(sys.argv[2:])
    else:
        tree = bayesxs.open_run(sys.argv[1]).near_detector
        for name, draw in {"fluxes": fluxes, "nodes": nodes}.items():
            draw(tree).savefig(FOLDER / f"{name}.png", dpi=130)
