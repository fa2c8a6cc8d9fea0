"""Measure the cross section's own uncertainty: calibration, shifts, mis-modelling.

Every figure is of the default preset on expected data unless said otherwise; each task prints a
Markdown table.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from shared import machine, markdown, say, use_cores

MODELS = Path(__file__).parent.parent / "models"

# One octant: the likelihoods of both are so alike that a nudge exchanges their maxima, and with
# them the estimates of dm31
ONE_OCTANT = "priors.s2_23.high=0.5"


def calibration(options: argparse.Namespace) -> None:
    """Count how often intervals of random smooth far-density functionals hold the truth.

    Near data of 1e6 events are drawn again and again; the Gaussian process keeps the scales that
    it found on the first.
    """
    import jax.numpy as jnp
    import numpy as np

    from bayesxs.app.experiment import Experiment
    from bayesxs.app.uncertainty import FINITE_RANK, far_directions
    from bayesxs.config import load_card
    from bayesxs.learning.gaussian_process import fit_process
    from bayesxs.learning.linear_model import near_data

    card = load_card(None, options.preset, ["near.events=1000000"])
    experiment = Experiment(card)
    target = experiment.unique_targets[0]
    geometry = experiment.geometry(target)
    near = experiment.near(target)
    matrix = near.matrix
    expected = near.spectrum.of_function(target.truth, clamp=True).rows @ target.near_flux
    truth = np.nan_to_num(geometry.node_values(target.truth)).ravel()
    truth /= (matrix @ truth).sum()
    far = far_directions(experiment, target, truth.reshape(-1, 3))
    rng = np.random.default_rng(0)
    # Smooth: cosines over the far density's directions of large variance, 20 random mixtures
    events = float(card.near.events)
    mean = events * expected / expected.sum()
    process, seconds = None, 0.0
    inside = {0.6827: 0, 0.9545: 0}
    pulls = []
    for number in range(options.realizations):
        counts = rng.poisson(mean)
        data = near_data(
            matrix,
            counts,
            expected,
            geometry.nodes,
            events=events,
            discretization=2e-4,
            rank=FINITE_RANK,
        )
        if process is None:
            clock = time.perf_counter()
            process = fit_process(data, geometry.nodes)
            seconds = time.perf_counter() - clock
            functionals = _functionals(rng, geometry, far)
            cross = process.posterior.covariance(jnp.asarray(functionals.T))
            sd = np.sqrt(np.einsum("fn,nf->f", functionals, np.asarray(cross)))
            prior = _prior_mean(geometry, process)
        fitted = prior + process.posterior.regress(data.observed - data.design @ prior)
        pulls.append(functionals @ (np.asarray(fitted) - truth) / sd)
        if number % 20 == 0:
            say(f"  calibration: {number + 1} of {options.realizations}")
    values = np.abs(np.array(pulls))
    for level, width in ((0.6827, 1.0), (0.9545, 2.0)):
        inside[level] = float(np.mean(values < width))
    print(
        markdown(
            ("figure", "must", "measured"),
            [
                ("functionals inside 68 %", "58-78 %", f"{100 * inside[0.6827]:.1f} %"),
                ("functionals inside 95 %", "90-99 %", f"{100 * inside[0.9545]:.1f} %"),
                ("GP fit with evidence", "120 s", f"{seconds:.1f} s, compilation included"),
            ],
        )
    )


def _prior_mean(geometry: Any, process: Any) -> Any:
    import jax.numpy as jnp

    from bayesxs.learning.gaussian_process import prior_mean

    return jnp.repeat(prior_mean(geometry.nodes, process.scales), 3)


def _functionals(rng: Any, geometry: Any, far: Any, number: int = 20) -> Any:
    """Random smooth functionals of the far density: plane waves over its bins in (E_l, z)."""
    import numpy as np

    place = np.linspace(0.0, 1.0, len(far))
    phases = rng.uniform(0.0, 2.0 * np.pi, (number, 1))
    waves = rng.uniform(0.0, 4.0, (number, 1))
    return np.cos(2.0 * np.pi * waves * place + phases) @ far


def learn(card: Any, folder: Path) -> tuple[Any, Any]:
    """Learn a card's cross section; return the experiment and its channels."""
    from bayesxs.app.channels import Channels
    from bayesxs.app.experiment import Experiment
    from bayesxs.app.pipeline import run
    from bayesxs.store import RunFolder

    run(card, folder, resume=True, stages=("train", "simulate"), progress=False)
    experiment = Experiment(card)
    return experiment, Channels(experiment, RunFolder.view(folder))


def estimates(experiment: Any, channels: Any) -> dict[str, dict[str, tuple[float, float]]]:
    """Return the Asimov estimate and its error for each kind of cross section."""
    import jax
    import numpy as np

    from bayesxs.inference.bootstrap import bootstrap

    start = {n: float(getattr(experiment.parameters, n)) for n in experiment.priors}
    out = {}
    for kind in channels.kinds:
        data = channels.of_asimov(kind)
        fit = bootstrap(jax.random.key(0), data, experiment.priors, experiment.parameters, start, 0)
        error = _errors(data, experiment, fit.mle)
        out[kind] = {n: (fit.mle[n], float(error[i])) for i, n in enumerate(experiment.priors)}
        assert np.all(fit.converged)
    return out


def _errors(data: Any, experiment: Any, mle: dict[str, float]) -> Any:
    """Marginal errors from the curvature of the penalised likelihood, nuisances included."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from bayesxs.inference.channel import log_likelihood

    names = list(experiment.priors)
    count = data[0].nuisances
    scale = jnp.array([1e-3 if n == "dm31" else 1.0 for n in names])

    def cost(v: jax.Array) -> jax.Array:
        values = v[: len(names)] * scale
        point = experiment.parameters._replace(**dict(zip(names, values, strict=True)))
        xi = v[len(names) :]
        return 0.5 * xi @ xi - log_likelihood(data, point, xi if count else None)

    centre = jnp.concatenate([jnp.array([mle[n] for n in names]) / scale, jnp.zeros(count)])
    hessian = jax.hessian(cost)(centre)
    covariance = np.linalg.inv(np.asarray(hessian))
    return np.sqrt(np.abs(np.diag(covariance)))[: len(names)] * np.asarray(scale)


def sources(options: argparse.Namespace) -> None:
    """Compare the sources of modes: shifts of the Asimov estimate, and the far spectra (a figure).

    The last column is the largest difference of a source's far spectrum from that of the first,
    over both errors in quadrature.
    """
    import numpy as np
    import xarray as xr

    from bayesxs.app.budget import FarSpectrum
    from bayesxs.config import load_card
    from bayesxs.report.plots_systematics import sources_figure
    from bayesxs.report.style import to_png

    rows, bands = [], []
    settings = {
        "gaussian_process": [],
        "laplace": [],
        "ensemble": [f"network.members={options.members}", f"training.lbfgs_steps={options.steps}"],
    }
    with tempfile.TemporaryDirectory() as folder:
        for name in options.sources.split(","):
            changes = settings[name]
            changes = [f'uncertainty={{type="{name}"}}', ONE_OCTANT, *changes]
            card = load_card(None, options.preset, changes)
            clock = time.perf_counter()
            found = learn(card, Path(folder) / ("ensemble" if name == "ensemble" else "one"))
            seconds = time.perf_counter() - clock
            bands.append(FarSpectrum(*found).band())
            found = estimates(*found)
            true, learned = found["truth"], found["learned"]
            shift = (learned["dm31"][0] - true["dm31"][0]) / learned["dm31"][1]
            ratio = learned["dm31"][1] / true["dm31"][1]
            sd = [(b["high"] - b["low"]).values[0] / 2.0 for b in (bands[0], bands[-1])]
            apart = np.abs((bands[-1]["mean"] - bands[0]["mean"].values).values[0])
            pull = float(np.max(apart / np.hypot(*sd)))
            cells = (f"{shift:+.3f}", f"{ratio:.4f}", f"{seconds:.0f} s", f"{pull:.1f}")
            rows.append((name, *cells))
            say(f"  {name}: {', '.join(cells)}")
    head = (
        "source",
        "shift of dm31, total sigma",
        "sigma over statistical",
        "time to learn",
        "apart, sigma",
    )
    print(markdown(head, rows))
    if options.figure:
        together = xr.concat(
            bands, "source", data_vars="minimal", coords="minimal", compat="override"
        )
        path = Path(options.figure)
        path.write_bytes(to_png(sources_figure(together)))


def mismodel(options: argparse.Namespace) -> None:
    """Compare the bias of an assumed cross section with that of the learned one."""
    from bayesxs.config import load_card

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(MODELS.glob("mismodel-*.toml")):
            card = load_card(path, options.preset, [ONE_OCTANT])
            found = estimates(*learn(card, Path(folder) / path.stem))
            true = found["truth"]["dm31"]
            shifts = [
                f"{(found[kind]['dm31'][0] - true[0]) / true[1]:+.2f}"
                for kind in ("assumed", "learned")
            ]
            rows.append((path.stem, *shifts))
            say(f"  {path.stem}: {', '.join(shifts)}")
    print(markdown(("card", "assumed: shift of dm31, sigma", "learned"), rows))


TASKS = {"calibration": calibration, "sources": sources, "mismodel": mismodel}


def main() -> None:
    """Run the chosen tasks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(TASKS), help="tasks, separated by commas")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--realizations", type=int, default=100)
    parser.add_argument("--members", type=int, default=16)
    parser.add_argument("--sources", default="gaussian_process,laplace,ensemble")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--figure", default="", help="where to write the figure of the sources")
    parser.add_argument("--cores", type=int, default=2)
    options = parser.parse_args()
    use_cores(options.cores)
    from bayesxs.app.session import prepare_jax

    prepare_jax(4)
    print(machine())
    for name in options.only.split(","):
        print(f"\n## {name}\n")
        TASKS[name](options)


if __name__ == "__main__":
    main()
