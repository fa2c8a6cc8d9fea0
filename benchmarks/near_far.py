"""Measure what far data add to near data in one model of both, on expected far data.

Errors are those of Laplace's method, from second derivatives at the maximum: given the near data
alone, in two steps (near data tell nothing of the flux), and jointly. Prints a Markdown table and
draws docs/explanation/near_far.png.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from shared import machine, markdown, say

ROOT = Path(__file__).parent.parent
FIGURE = ROOT / "docs" / "explanation" / "near_far.png"
STEPS = 4  # of Newton's method
UNITS = {"dm31": 1e-5, "s2_23": 1e-2}  # sizes of numbers near one
SHOWN = 8  # modes of the cross section in the figure
NAMES = {"near": "near data alone", "two": "two steps", "joint": "near and far, one model"}


def errors(folder: Path) -> tuple[list[str], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return names, and by way of inference the maximum and the errors of all."""
    import jax
    import jax.numpy as jnp

    import bayesxs
    from bayesxs.experiment.channels import Channels
    from bayesxs.inference.channel import log_likelihood
    from bayesxs.learning.near_term import near_constraint, near_log_prob
    from bayesxs.storage.netcdf import read_dataset

    run = bayesxs.open_run(folder)
    experiment = run.experiment
    channels = Channels(experiment, run.cross_section, read_dataset(folder / "events.nc"))
    far, near = channels.of_asimov("learned"), channels.near_terms()
    names = [*UNITS, *(n.name for n in channels.nuisances)]
    true, units = experiment.parameters, np.array(list(UNITS.values()))

    def height(x: Any, terms: Any, far: Any) -> Any:
        moved = {n: getattr(true, n) + x[i] * units[i] for i, n in enumerate(UNITS)}
        eta = x[len(UNITS) :]
        value = log_likelihood(far, true._replace(**moved), eta) - 0.5 * eta @ eta
        return value + near_log_prob(terms, eta)

    slope = jax.jit(jax.grad(height))

    @jax.jit
    def bend(x: Any, terms: Any, far: Any) -> Any:
        def column(axis: Any) -> Any:
            return jax.jvp(lambda x: jax.grad(height)(x, terms, far), (x,), (axis,))[1]

        return jax.lax.map(column, jnp.eye(len(x)))

    known = near_constraint(near, len(channels.nuisances))
    widths = np.sqrt(np.diag(np.asarray(known.root @ known.root.T)))
    best = {"near": np.append(np.full(len(UNITS), np.nan), np.asarray(known.mean))}
    sds = {"near": np.append(np.full(len(UNITS), np.nan), widths)}
    for way, terms in (("two", tuple(t.blind() for t in near)), ("joint", near)):
        x = jnp.zeros(len(names))
        x = x.at[len(UNITS) :].set(known.mean if way == "joint" else 0.0)
        for _ in range(STEPS):
            curvature = -np.asarray(bend(x, terms, far))
            step = np.linalg.solve(curvature, np.asarray(slope(x, terms, far)))
            x = x + step / max(1.0, float(np.abs(step).max()) / 3.0)
        say(f"  {way}: last step {np.abs(step).max():.1e}")
        covariance = np.linalg.inv(-np.asarray(bend(x, terms, far)))
        best[way], sds[way] = np.asarray(x), np.sqrt(np.diag(covariance))
    return names, best, sds


def figure(names: list[str], sds: dict[str, np.ndarray], path: Path) -> None:
    """Draw widths of nuisances, and errors of parameters over those in two steps."""
    from bayesxs.report.style import ASSUMED, GUIDE, TRUTH, Plate, style, to_png

    colors = dict(zip(NAMES, (GUIDE, ASSUMED, TRUTH), strict=True))
    flux = [i for i, n in enumerate(names) if n.startswith("flux_")]
    modes = [i for i, n in enumerate(names) if n.startswith("cross_section")][:SHOWN]
    with style():
        plate = Plate(figsize=(9.5, 3.6))
        left, right = plate.subplots(1, 2, width_ratios=(5.0, 1.0))
        for k, (way, words) in enumerate(NAMES.items()):
            places = np.arange(len(flux) + len(modes)) + 0.27 * (k - 1)
            places[len(flux) :] += 0.8
            left.bar(places, sds[way][flux + modes], 0.25, color=colors[way], label=words)
            if way != "near":
                ratio = sds[way][: len(UNITS)] / sds["two"][: len(UNITS)]
                right.bar(np.arange(len(UNITS)) + 0.27 * (k - 1.5), ratio, 0.25, color=colors[way])
        left.axhline(1.0, color=GUIDE, lw=0.9)
        labels = [f"flux {i}" for i in range(len(flux))] + [f"σ {i}" for i in range(len(modes))]
        spots = np.arange(len(labels), dtype=float)
        spots[len(flux) :] += 0.8
        left.set_xticks(spots, labels, rotation=60)
        left.set_ylabel("width [prior sd]")
        right.set_xticks([0, 1], [r"$\Delta m^2_{31}$", r"$\sin^2\theta_{23}$"])
        right.set_ylabel("error, over two steps")
        plate.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=3)
        path.write_bytes(to_png(plate))


def main() -> None:
    """Make what is missing of a run of the card, and measure."""
    import bayesxs
    from bayesxs.cards.card import load_card
    from bayesxs.runs.pipeline import run

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="default")
    parser.add_argument("--folder", type=Path, help="run folder that holds near and far data")
    parser.add_argument("--figure", type=Path, default=FIGURE)
    options = parser.parse_args()
    bayesxs.enable_x64()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary) / "run"
        if options.folder is None:
            card = load_card(ROOT / "models" / "near-far.toml", options.preset)
            run(card, folder, stages=("train", "simulate"))
        names, best, sds = errors(folder)
    figure(names, sds, options.figure)
    flux = np.array([i for i, n in enumerate(names) if n.startswith("flux_")])
    modes = np.array([i for i, n in enumerate(names) if n.startswith("cross_section")])
    rows = [
        (n, "", *(f"{best[w][i]:+.2f} ± {sds[w][i]:.3f}" for w in ("two", "joint")))
        for i, n in enumerate(UNITS)
    ]
    rows += [(names[i], *(f"{best[w][i]:+.2f} ± {sds[w][i]:.2f}" for w in NAMES)) for i in flux]
    rows.append(("flux, rms width", *(f"{np.sqrt(np.mean(sds[w][flux] ** 2)):.3f}" for w in NAMES)))
    least = {w: sds[w][modes].min() for w in NAMES}
    rows.append((f"{len(modes)} modes, least width", *(f"{least[w]:.3f}" for w in NAMES)))
    units = ", ".join(f"{n} in {u:g}" for n, u in UNITS.items())
    print(f"{machine()}\n\nLess the true value, {units}; nuisances in prior widths.\n")
    print(markdown(("", *NAMES.values()), rows))


if __name__ == "__main__":
    main()
