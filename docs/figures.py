"""Draw the figures of the chapter on the method from a finished run, and those of the nucleus.

bayesxs run models/dune-toy.toml --out runs/toy
python docs/figures.py runs/toy
python docs/figures.py --nucleus generator    # a folder with samples of NuWro and Achilles
python docs/figures.py --ridges
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


if __name__ == "__main__":
    if sys.argv[1] == "--nucleus":
        jax.config.update("jax_enable_x64", True)
        nucleus(Path(sys.argv[2])).savefig(FOLDER / "nucleus.png", dpi=130)
    elif sys.argv[1] == "--ridges":
        jax.config.update("jax_enable_x64", True)
        ridges().savefig(FOLDER / "ridges.png", dpi=130)
    else:
        tree = bayesxs.open_run(sys.argv[1]).near_detector
        for name, draw in {"fluxes": fluxes, "nodes": nodes}.items():
            draw(tree).savefig(FOLDER / f"{name}.png", dpi=130)
