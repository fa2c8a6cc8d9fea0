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
    """Count how often intervals of far-density functionals hold the truth, by nature.

    Near data of 1e6 events are drawn again and again; the Gaussian process keeps the scales that
    it found on the first.
    """
    import dataclasses

    import numpy as np
    from natures import natures, nuclei

    from bayesxs.cards.build import build_experiment, near_sources
    from bayesxs.cards.card import load_card
    from bayesxs.experiment.near import NearData

    kinds = {"partons": (natures, {}), "nuclei": (nuclei, {"nature": {"type": "nucleus"}})}
    for kind in options.kinds.split(","):
        makers, change = kinds[kind]
        card = load_card(None, options.preset, {"near.events": 1_000_000, **change})
        experiment = build_experiment(card)
        near = NearData(experiment, near_sources(card, experiment))
        (target,) = experiment.unique_targets
        rows, figures = [], []
        for name, make in makers(target.sample.lepton_mass).items():
            if options.natures and options.natures not in name:
                continue
            nature = dataclasses.replace(target, truth=make())
            found = np.array([_figures(p) for p in _pulls(near, nature, options.realizations)])
            figures.append(found)
            rows.append((name, *_cells(found)))
            say(f"  calibration: {', '.join(rows[-1])}")
        for word, reduce in (("mean", np.mean), ("least", np.min), ("most", np.max)):
            rows.append((word, *_cells(reduce(figures, axis=0))))
        each = ("68 %", "95 %", "bias, rms", "scatter")
        families = ("waves", "spectra", "estimates", "total")
        head = ("nature", *(f"{family}: {h}" for family in families for h in each))
        print(f"### {kind}\n\n{markdown(head, rows)}\n")


def _cells(figures: Any) -> list[str]:
    return [
        text
        for f in figures
        for text in (f"{f[0]:.1f} %", f"{f[1]:.1f} %", *map("{:.2f}".format, f[2:]))
    ]


def _figures(pulls: Any) -> tuple[float, ...]:
    """Return per cent inside 68 % and 95 % intervals, bias and scatter of pulls by realization."""
    import numpy as np

    inside = [100.0 * np.mean(np.abs(pulls) < level) for level in (0.994, 1.960)]
    bias = np.sqrt(np.mean(pulls.mean(axis=0) ** 2))
    return (*inside, bias, np.sqrt(np.mean(np.var(pulls, axis=0))))


def _pulls(near_data: Any, target: Any, realizations: int) -> list[Any]:
    """Return pulls (realizations, functionals) of one nature, for each family of functionals."""
    import jax.numpy as jnp
    import numpy as np

    from bayesxs.experiment.uncertainty import FINITE_RANK
    from bayesxs.learning import linear_model
    from bayesxs.learning.gaussian_process import fit_process

    experiment, near = near_data.experiment, near_data.detectors[target.name]
    geometry, matrix, events = near.geometry, near.matrix, near.events
    expected = near.spectrum.of_function(target.truth).rows @ target.near_flux
    expected = np.maximum(expected, 0.0)  # tables of averages dip below zero by rounding
    truth = np.nan_to_num(geometry.node_values(target.truth)).ravel()
    truth /= (matrix @ truth).sum()
    rng = np.random.default_rng(0)
    counts = rng.poisson(events * expected / expected.sum(), (realizations, len(expected)))
    choices = {"events": events, "discretization": 2e-4, "rank": FINITE_RANK}
    data = linear_model.near_data(matrix, counts[0], expected, geometry.nodes, **choices)
    process = fit_process(data, geometry.nodes)
    seen = np.diff(matrix.indptr) > 0
    observed = data.whiten @ (counts / counts[:, seen].sum(axis=1, keepdims=True)).T
    start = np.asarray(process.prior_mean)[:, None]
    change = process.posterior.regress(jnp.asarray(observed - data.design @ start))
    away = start + np.asarray(change) - truth[:, None]
    pulls = []
    for functionals in (
        *_of_far_bins(experiment, target, truth, rng),
        _of_estimates(experiment, target, truth),
        _of_totals(experiment, target, truth),
    ):
        covariance = process.posterior.covariance(jnp.asarray(functionals.T))
        sd = np.sqrt(np.einsum("fn,nf->f", functionals, np.asarray(covariance)))
        pulls.append((functionals @ away / sd[:, None]).T)
    return pulls


def _of_far_bins(experiment: Any, target: Any, truth: Any, rng: Any, number: int = 200) -> Any:
    """Return functionals of node values, two families of shape (functionals, 3 n_nodes).

    Of the far density in bins, over their statistical error: plane waves of random phase over
    lepton energy and z, up to four cycles over 10 GeV and over z = 1; and spectra in lepton energy
    and in z, the density summed over the other one.
    """
    import numpy as np

    from bayesxs.experiment.uncertainty import FAR_BINS, FAR_FLOOR, far_directions, far_matrices

    far = far_directions(experiment, target, truth.reshape(-1, 3))
    (matrix,) = far_matrices(experiment, target)
    density = matrix @ truth / (matrix @ truth).sum()
    kept = np.flatnonzero(density > FAR_FLOOR)
    places = np.divmod(kept, FAR_BINS[1])
    fine = experiment.geometry(target).bins
    edges = (fine.energy_edges, fine.z_edges)
    phase = rng.uniform(0.0, 2.0 * np.pi, (number, 1))
    for edge, place, bins, span in zip(edges, places, FAR_BINS, (10.0, 1.0), strict=True):
        cuts = edge[-(-np.arange(bins + 1) * (len(edge) - 1) // bins)]
        centers = 0.5 * (cuts[1:] + cuts[:-1])
        turns = rng.uniform(0.0, 4.0, (number, 1)) * centers[place] / span
        phase = phase + 2.0 * np.pi * turns
    groups = [np.equal.outer(np.unique(i), i) for i in places]
    spectra = np.concatenate(groups) * np.sqrt(density[kept])
    spectra = spectra[(spectra**2).sum(axis=1) > 1e-3]
    return np.cos(phase) @ far, spectra @ far


def _of_estimates(experiment: Any, target: Any, truth: Any) -> Any:
    """Return how estimates of dm31 and s2_23 move, over their errors, at 15 true values.

    With p the far density in bins, s = d ln p/d theta, and I = sum p s s^T the information of an
    event, the estimates move by I^-1 sum s dp.
    """
    import numpy as np

    from bayesxs.experiment.uncertainty import far_matrices

    found, steps = [], {"dm31": 1e-6, "s2_23": 1e-4}
    for dm31 in (2.3e-3, 2.4e-3, 2.5e-3, 2.6e-3, 2.7e-3):
        for s2_23 in (0.44, 0.47, 0.56):
            point = experiment.parameters._replace(dm31=dm31, s2_23=s2_23)
            (matrix,) = far_matrices(experiment, target, point)
            rate = matrix @ truth
            p = rate / rate.sum()
            slopes = (matrix - np.outer(p, matrix.sum(axis=0))) / rate.sum()
            scores = []
            for name, step in steps.items():
                near_by = point._replace(**{name: getattr(point, name) + step})
                moved = far_matrices(experiment, target, near_by)[0] @ truth
                change = np.log(np.maximum(moved, 1e-300) / moved.sum()) - np.log(
                    np.maximum(p, 1e-300)
                )
                scores.append(np.where(p > 1e-7, change / step, 0.0))
            s = np.array(scores)
            inverse = np.linalg.inv((s * p) @ s.T)
            found.append(inverse @ s @ slopes / np.sqrt(np.diag(inverse))[:, None])
    return np.concatenate(found)


def _of_totals(experiment: Any, target: Any, truth: Any) -> Any:
    """Return how the total cross section moves in panels from 0.75 to 8 GeV, relative to itself.

    Its average over the near flux stays.
    """
    import numpy as np

    geometry, energies = experiment.geometry(target), experiment.energies
    total = geometry.total_operator.near_matrix(np.ones(len(energies.points))).toarray()
    total *= energies.weights[:, None]
    panels = total.reshape(-1, energies.order, total.shape[1]).sum(axis=1)
    rate = target.near_flux @ total
    inside = (energies.edges[:-1] > 0.7) & (energies.edges[1:] < 8.1)
    return (panels / (panels @ truth)[:, None] - rate / (rate @ truth))[inside]


def learn(card: Any, folder: Path) -> tuple[Any, Any]:
    """Learn a card's cross section; return the experiment and its channels."""
    from bayesxs.progress import Reporter
    from bayesxs.runs.pipeline import Analysis, run
    from bayesxs.storage.run_folder import RunFolder

    run(card, folder, resume=True, stages=("train", "simulate"), progress=False)
    analysis = Analysis(card, RunFolder.view(folder), Reporter(False))
    return analysis.experiment, analysis.channels


def estimates(experiment: Any, channels: Any) -> dict[str, dict[str, tuple[float, float]]]:
    """Return the Asimov estimate and its error for each kind of cross section."""
    import numpy as np

    from bayesxs.inference.maximum import fit

    start = {n: float(getattr(experiment.parameters, n)) for n in experiment.priors}
    out = {}
    for kind in channels.kinds:
        data = channels.of_asimov(kind)
        weights = [np.asarray(c.weights)[None] for c in data]
        nominal = np.zeros((1, data[0].nuisances))
        found = fit(data, weights, nominal, experiment.priors, experiment.parameters, start)
        assert np.all(found.converged)
        best = {n: float(v) for n, v in zip(experiment.priors, found.values[0], strict=False)}
        error = _errors(data, experiment, best)
        out[kind] = {n: (best[n], float(error[i])) for i, n in enumerate(experiment.priors)}
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

    from bayesxs.cards.card import load_card
    from bayesxs.cards.overrides import parse_overrides
    from bayesxs.report.plots_systematics import sources_figure
    from bayesxs.report.style import to_png
    from bayesxs.runs.budget import FarSpectrum

    rows, bands = [], []
    settings = {
        "gaussian_process": [],
        "laplace": [],
        "ensemble": [
            f"network.members={options.members}",
            f"training.gauss_newton_steps={options.steps}",
        ],
    }
    with tempfile.TemporaryDirectory() as folder:
        for name in options.sources.split(","):
            changes = settings[name]
            changes = [f'uncertainty={{type="{name}"}}', ONE_OCTANT, *changes]
            card = load_card(None, options.preset, parse_overrides(changes))
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
    from bayesxs.cards.card import load_card
    from bayesxs.cards.overrides import parse_overrides

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(MODELS.glob("mismodel-*.toml")):
            card = load_card(path, options.preset, parse_overrides([ONE_OCTANT]))
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
    parser.add_argument("--kinds", default="partons,nuclei", help="natures of the calibration")
    parser.add_argument("--natures", default="", help="only those with this word in their name")
    parser.add_argument("--members", type=int, default=16)
    parser.add_argument("--sources", default="gaussian_process,laplace,ensemble")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--figure", default="", help="where to write the figure of the sources")
    parser.add_argument("--cores", type=int, default=2)
    options = parser.parse_args()
    use_cores(options.cores)
    from bayesxs.session import prepare_jax

    prepare_jax(4)
    print(machine())
    for name in options.only.split(","):
        print(f"\n## {name}\n")
        TASKS[name](options)


if __name__ == "__main__":
    main()
