"""Measure what a pseudo-experiment costs: time and memory against everything that it scales with.

Each setting is measured in a process of its own, on one core: set-up (folding bins, compiling),
then the median of three batches. Exponents are least-squares slopes of log seconds over log size,
with their standard errors from the residuals.
"""

from __future__ import annotations

import argparse
import math
import resource
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from shared import answer, machine, markdown, say, use_cores, work

# What is varied, one at a time, from the first setting of each
AXES: dict[str, tuple[str, tuple[int, ...]]] = {
    "events": ("events", (6_200, 62_000, 620_000, 6_200_000)),
    "energies": ("Gauss points between flux knots", (3, 1, 9)),
    "nodes": ("nodes in x and in Q²", (48, 24, 72)),
    "batch": ("fits in a batch", (25, 1, 5, 100)),
    "modes": ("cross-section modes", (0, 5, 15, 45)),
}
KEYS = {
    "events": ("far.events={}",),
    "energies": ("grid.energy_order={}",),
    "nodes": ("grid.nodes_x={}", "grid.nodes_q2={}"),
}


def prepare(folder: Path) -> None:
    """Train the run whose modes the pseudo-experiments take."""
    from bayesxs.cards.card import load_card
    from bayesxs.runs.pipeline import run

    card = load_card(
        overrides={"near.events": 10_000_000, "uncertainty": {"type": "gaussian_process"}}
    )
    run(card, folder, stages=("train",), progress=False)


def measure(axis: str, size: int, folder: Path) -> dict[str, float]:
    """Return seconds of set-up and per fit, steps of NUTS, bins, and peak memory in MB."""
    from bayesxs.session import prepare_jax

    use_cores(1)
    prepare_jax(1)
    import xarray as xr

    from bayesxs.campaigns.kind import sampled
    from bayesxs.cards.build import build_experiment
    from bayesxs.cards.campaign import SbcCampaign
    from bayesxs.cards.card import load_card
    from bayesxs.cards.overrides import parse_overrides
    from bayesxs.experiment.channels import Channels
    from bayesxs.progress import Reporter
    from bayesxs.runs.pipeline import Analysis
    from bayesxs.storage.run_folder import RunFolder

    begin = time.perf_counter()
    learned = axis == "modes" and size > 0
    keys = [key.format(size) for key in KEYS.get(axis, ())]
    path = folder / "config.toml" if learned else None
    card = load_card(path, None if learned else "default", parse_overrides(keys))
    if learned:
        whole = Analysis(card, RunFolder.view(folder), Reporter(False)).channels
        found = whole.cross_section
        targets = {n: replace(one, modes=one.modes[:size]) for n, one in found.targets.items()}
        channels = Channels(whole.experiment, replace(found, targets=targets), whole.events)
    else:
        channels = Channels(build_experiment(card), None, xr.Dataset())
    plan = SbcCampaign(
        batch=size if axis == "batch" else 25,
        cross_section="learned" if learned else "truth",
        warmup=100,
        draws=200,
        tree_depth=4 if axis == "modes" else 3,
    )
    detector = sampled(channels, plan, card.seed)
    detector.run(0)
    ready = time.perf_counter()
    seconds, steps = [], []
    for number in range(1, 4):
        clock = time.perf_counter()
        found = detector.run(number * plan.batch)
        seconds.append(time.perf_counter() - clock)
        steps.append(found["n_steps"].mean())
    return {
        "set-up": ready - begin,
        "fit": statistics.median(seconds) / plan.batch,
        "steps": statistics.mean(steps),
        "bins": sum(len(channel.weights) for channel in detector.channels),
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0,
    }


def exponent(sizes: list[int], seconds: list[float]) -> str:
    """Return the slope of log seconds over log size, with its standard error."""
    import numpy as np

    x, y = np.log(sizes), np.log(seconds)
    design = np.stack([np.ones_like(x), x], axis=1)
    (_, slope), *_ = np.linalg.lstsq(design, y, rcond=None)
    residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    freedom = len(x) - 2
    error = math.sqrt(residual @ residual / freedom / ((x - x.mean()) ** 2).sum()) if freedom else 0
    return f"{slope:+.2f} ± {error:.2f}"


def table(axis: str, script: str, folder: Path) -> list[tuple[str, ...]]:
    """Measure all sizes of an axis; return the rows of its table."""
    words, sizes = AXES[axis]
    rows, fits, kept = [], [], []
    for size in sorted(sizes):
        arguments = ["--size", str(size), "--folder", str(folder)]
        found: Any = work(script, axis, arguments, {})
        if found is None:
            continue
        cells = (f"{found['bins']}", f"{found['set-up']:.0f} s", f"{1e3 * found['fit']:.1f} ms")
        more = (f"{found['steps']:.1f}", f"{found['memory']:.0f} MB")
        rows.append((words, f"{size:,}".replace(",", " "), *cells, *more, ""))
        if size > 0:
            kept.append(size)
            fits.append(found["fit"])
    if rows and len(kept) > 1:
        rows[-1] = (*rows[-1][:-1], exponent(kept, fits))
    return rows


def main() -> None:
    """Measure, or be a worker that does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(AXES), help="axes, separated by commas")
    parser.add_argument("--folder", type=Path, help="a trained run to take modes from")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--result", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        answer(options.result, measure(options.worker, options.size, options.folder))
        return
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch) / "run"
        if not folder.exists():
            from bayesxs.session import prepare_jax

            prepare_jax(1)
            say("training")
            prepare(folder)
        rows = [row for axis in options.only.split(",") for row in table(axis, __file__, folder)]
    columns = ("what", "size", "bins", "set-up", "per fit", "steps", "peak memory", "exponent")
    print(machine())
    print(markdown(columns, rows))


if __name__ == "__main__":
    main()
