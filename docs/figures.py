"""Draw the figures of the chapter on the method from a finished run.

bayesxs run models/dune-toy.toml --out runs/toy
python docs/figures.py runs/toy
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

import bayesxs

TRUTH, LEARNED, SHADE = "#2f3640", "#d9541e", "#9fb6cd"
MUON, NUCLEON = 0.1056584, 0.9389187  # masses in GeV
EVENTS = ((0.6, 20), (1.5, 15), (3.0, 25))  # muon energy in GeV, angle in degrees
FOLDER = Path(__file__).parent / "explanation"


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
    for (muon, degrees), color in zip(EVENTS, (TRUTH, LEARNED, "#2a6db0"), strict=True):
        energy = np.linspace(muon + 1e-3, 10.0, 4000)
        momentum = np.sqrt(muon**2 - MUON**2)
        q2_line = 2.0 * energy * (muon - momentum * np.cos(np.deg2rad(degrees))) - MUON**2
        x_line = q2_line / (2.0 * NUCLEON * (energy - muon))
        inside = x_line < 1.0
        label = rf"$E_\ell = {muon:g}$ GeV, $\theta = {degrees}$°"
        axes.plot(x_line[inside], q2_line[inside], color=color, label=label)
    axes.set(xscale="log", yscale="log", xlabel="$x$", ylabel="$Q^2$ (GeV²)", xlim=(5e-3, 1.1))
    axes.set_ylim(5e-3, 25)
    axes.legend(frameon=False, loc="upper left")
    return figure


if __name__ == "__main__":
    tree = bayesxs.open_run(sys.argv[1]).near_detector
    for name, draw in {"fluxes": fluxes, "nodes": nodes}.items():
        draw(tree).savefig(FOLDER / f"{name}.png", dpi=130)
