"""Measure the speed of the package against what it must reach, and print one Markdown table.

Every row is measured in a process of its own, on two cores, without compiled programs from earlier
runs. The accuracy of the learned cross section over seeds is in `asimov_seeds.py`.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from shared import (
    answer,
    clock,
    clock_bootstrap,
    clock_sampler,
    cold_cache,
    machine,
    markdown,
    median_seconds,
    say,
    use_cores,
    work,
)

if TYPE_CHECKING:
    from bayesxs.cards.card import Card
    from bayesxs.experiment.experiment import Experiment
    from bayesxs.inference.channel import FarChannel
    from bayesxs.inference.folded import Folded, Oscillation


class Row(NamedTuple):
    """A line of the table: what was measured, and how it comes about."""

    measured: str
    detail: str


class Task(NamedTuple):
    """What one process measures: rows as (figure, must, aim), and whether a warm rerun belongs."""

    measure: Callable[[Card, argparse.Namespace], list[Row]]
    figures: list[tuple[str, str, str]]
    rerun: bool = False


# the main job as users start it


def run_command(arguments: list[str], options: argparse.Namespace) -> tuple[float, float]:
    """Run `bayesxs ...` in a process of its own; return seconds and its peak memory in GB."""
    chosen = [f"--preset={options.preset}", *(f"--set={change}" for change in options.set)]
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "bayesxs", *arguments, *chosen, "--quiet"],
        stdout=subprocess.DEVNULL,
        check=True,
    )
    seconds = time.perf_counter() - start
    # In kB on Linux, in bytes on macOS; this process has started no other
    unit = 1.0 if sys.platform == "darwin" else 1024.0
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit / 1e9


def training(card: Card, options: argparse.Namespace) -> list[Row]:
    """Train from cold."""
    with tempfile.TemporaryDirectory(prefix="bayesxs-benchmark-") as folder:
        out = Path(folder) / "run"
        wall, memory = run_command(["train", "--out", str(out)], options)

        from bayesxs.storage.run_folder import RunFolder

        stage = RunFolder.view(out).stages["train"]
        last = (out / "training.csv").read_text(encoding="utf-8").splitlines()
    record = dict(zip(last[0].split(","), last[-1].split(","), strict=True))
    operator = stage["notes"]["operator_seconds"]
    detail = (
        f"operator {operator:.1f} s, training {stage['seconds'] - operator:.1f} s, compilation "
        f"included; whole process {wall:.1f} s, {memory:.2f} GB; near rel-L2 "
        f"{float(record['near_rel_l2']):.1e}"
    )
    return [Row(f"{stage['seconds']:.1f} s", detail)]


def whole_run(card: Card, options: argparse.Namespace) -> list[Row]:
    """Run everything from cold."""
    with tempfile.TemporaryDirectory(prefix="bayesxs-benchmark-") as folder:
        out = Path(folder) / "run"
        wall, memory = run_command(["run", "--out", str(out)], options)

        from bayesxs.storage.atomic import read_json

        summary = read_json(out / "summary.json")
    seconds = ", ".join(f"{k} {v:.1f}" for k, v in summary["seconds"].items() if k != "total")
    chains = "; ".join(
        f"{kind}: min bulk ESS {minimum_ess(summary[kind]):.0f}, "
        f"{summary[kind]['divergences']} divergences"
        for kind in ("truth", "learned")
    )
    return [
        Row(f"{wall:.1f} s", f"seconds: {seconds}"),
        Row(f"{memory:.2f} GB", f"largest resident set of the same process; {chains}"),
    ]


def minimum_ess(summary: dict[str, Any]) -> float:
    """Return the smallest bulk effective sample size over the parameters."""
    return min(v["ess_bulk"] for v in summary.values() if isinstance(v, dict))


def show_help(card: Card, options: argparse.Namespace) -> list[Row]:
    """Ask for help seven times."""
    program = shutil.which("bayesxs", path=str(Path(sys.executable).parent))
    command = [program] if program else [sys.executable, "-m", "bayesxs"]
    times = []
    for _ in range(8):
        start = time.perf_counter()
        subprocess.run([*command, "--help"], stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - start)
    kept = times[1:]  # the first one writes Python's bytecode
    return [
        Row(
            f"{statistics.median(kept):.2f} s", f"median of 7, {min(kept):.2f} to {max(kept):.2f} s"
        )
    ]


# learning


def evaluations(card: Card, options: argparse.Namespace) -> list[Row]:
    """Count and time the network's evaluations, on the nodes and at every point of the grid.

    Both losses are those of the same network on the same quadrature of the same bins. The second
    evaluates the network at each point, where the first interpolates between nodes.
    """
    prepare(card)
    import jax
    import jax.numpy as jnp
    import numpy as np
    from flax import nnx

    from bayesxs.cards.build import build_experiment, build_training, near_sources
    from bayesxs.experiment.learn import training_data
    from bayesxs.experiment.near import NearData
    from bayesxs.learning.near_problem import NearProblem, near_loss
    from bayesxs.learning.network import Network, create_network
    from bayesxs.physics.kinematics import invariants, is_physical

    experiment = build_experiment(card)
    target = experiment.unique_targets[0]
    geometry = experiment.geometry(target)
    observed = geometry.true_bins.rows @ target.near_flux
    floor = card.training.floor if card.training.weighting == "relative" else None
    dtype = jnp.dtype(card.network.precision)
    # Fields that the loss does not need are None
    training = build_training(card)
    near = NearData(experiment, near_sources(card, experiment)).detectors[target.name]
    nominal = training_data(near, training).nominal
    problem = jax.tree.map(lambda a: a.astype(dtype), nominal)

    points, operator = geometry.quadrature, geometry.operator
    x, q2, _ = invariants(points.energy, points.lepton_energy, points.z, points.lepton_mass)
    stencil = operator.start_e[:, None] + np.arange(experiment.energies.order)
    flux = np.sum(operator.weights_e * target.near_flux[stencil], axis=1)
    density = observed / observed.sum()
    weights = np.ones_like(density) if floor is None else 1.0 / (density + floor * density.max())
    weights /= np.linalg.norm(weights * density)
    coefficients = operator.coefficients * flux[:, None]
    coefficients /= np.abs(coefficients).max()  # keeps the numbers near one, for float32
    every = [jnp.asarray(a, dtype) for a in (x, q2, coefficients, density, weights)]
    rows = jnp.asarray(points.row)

    def pointwise_loss(network: Network, every: list[jax.Array], rows: jax.Array) -> jax.Array:
        x, q2, coefficients, density, weights = every
        cross_section = jnp.sum(coefficients * network(x, q2), axis=-1)
        spectrum = jax.ops.segment_sum(cross_section, rows, points.n_rows, indices_are_sorted=True)
        residual = weights * (spectrum / spectrum.sum() - density)
        return residual @ residual

    network = create_network(training.architecture, jax.random.key(card.seed))
    graph, weights_of_network, rest = nnx.split(network, nnx.Param, ...)

    @jax.jit
    def on_nodes(w: Any, problem: NearProblem) -> Any:
        return jax.value_and_grad(lambda v: near_loss(nnx.merge(graph, v, rest), problem))(w)

    @jax.jit
    def everywhere(w: Any, every: list[jax.Array], rows: jax.Array) -> Any:
        return jax.value_and_grad(lambda v: pointwise_loss(nnx.merge(graph, v, rest), every, rows))(
            w
        )

    few = median_seconds(on_nodes, weights_of_network, problem, repeats=200)
    many = median_seconds(everywhere, weights_of_network, every, rows, repeats=15)
    ours = float(on_nodes(weights_of_network, problem)[0])
    theirs = float(everywhere(weights_of_network, every, rows)[0])

    low, high = experiment.energies.edges[[0, -1]]
    edges = np.linspace(low, high, 101)
    e_l, z = geometry.bins.rows
    regular = is_physical(0.5 * (edges[1:] + edges[:-1])[:, None], e_l, z, geometry.lepton_mass)
    nodes, physical = len(problem.x), int(np.sum(regular))
    n_e, n_z = geometry.bins.shape
    detail = (
        f"{nodes} nodes for {len(x)} points of the near grid; value and gradient "
        f"{few * 1e3:.1f} ms and {many * 1e3:.0f} ms ({many / few:.0f}x), loss of the untrained "
        f"network {ours:.6g} and {theirs:.6g}; a regular 100x{n_e}x{n_z} grid has {physical} "
        f"physical points ({physical / nodes:.0f}x) of {regular.size} ({regular.size / nodes:.0f}x)"
    )
    return [Row(f"{len(x) / nodes:.0f}x", detail)]


# inference


def prepare(card: Card) -> None:
    """Set JAX up as a run does."""
    from bayesxs.session import prepare_jax

    prepare_jax(card.sampler.chains)


def folded_events(card: Card) -> tuple[Experiment, Folded, Oscillation]:
    """Simulate the events of the card's first sample and fold them with the true cross section."""
    prepare(card)
    import jax

    from bayesxs.cards.build import build_experiment
    from bayesxs.detector.density import simulate_events
    from bayesxs.inference.folded import Folded, Oscillation

    experiment = build_experiment(card)
    sample = experiment.samples[0]
    target = experiment.targets[sample]
    events = simulate_events(
        jax.random.key(card.seed),
        target.truth,
        lambda e: experiment.flux(sample.flux_id, e) * experiment.oscillation(sample, e),
        (card.beam.energy_min_GeV, card.beam.energy_max_GeV),
        sample.lepton_mass,
        card.far.events,
    )
    spectrum = experiment.geometry(target).events(events.lepton_energy, events.z)
    folded = Folded.plain(spectrum.of_function(target.truth), experiment.source_flux(sample))
    return (
        experiment,
        folded,
        Oscillation(sample, experiment.baseline, card.oscillation.newton_steps),
    )


def compressed(experiment: Experiment, folded: Folded, oscillation: Oscillation) -> FarChannel:
    """Return events as a term of the likelihood, compressed for the priors as a run does it."""
    import numpy as np

    from bayesxs.inference.channel import far_channel
    from bayesxs.inference.compression import probability_span

    energies = experiment.energies.points
    span = probability_span(oscillation, energies, experiment.priors, experiment.parameters)
    weights = np.ones(len(folded.response.rows))
    return far_channel(folded, energies, weights, oscillation, span)


def far_detector(card: Card) -> tuple[Experiment, list[FarChannel]]:
    """Return the experiment and the events of its first sample."""
    experiment, folded, oscillation = folded_events(card)
    return experiment, [compressed(experiment, folded, oscillation)]


def likelihood(card: Card, options: argparse.Namespace) -> list[Row]:
    """Time the far-detector log-likelihood with its gradient."""
    experiment, channels = far_detector(card)
    import jax
    import jax.numpy as jnp

    from bayesxs.inference.channel import log_likelihood

    fixed = experiment.parameters
    names = tuple(experiment.priors)
    point = jnp.array([float(getattr(fixed, name)) for name in names])
    scale = jnp.abs(point)

    def value(v: jax.Array, channels: list[FarChannel]) -> jax.Array:
        return log_likelihood(channels, fixed._replace(**dict(zip(names, v, strict=True))))

    both = jax.jit(jax.value_and_grad(value))
    loop = 100

    @jax.jit
    def in_loop(v: jax.Array, channels: list[FarChannel]) -> jax.Array:
        def step(v: jax.Array, _: None) -> tuple[jax.Array, None]:
            height, slope = jax.value_and_grad(value)(v, channels)
            return v + 1e-12 * scale * jnp.tanh(slope + height), None

        return jax.lax.scan(step, v, None, length=loop)[0]

    single = median_seconds(both, point, channels, repeats=2000)
    inside = median_seconds(in_loop, point, channels, repeats=20) / loop
    events, directions = channels[0].left.shape
    detail = (
        f"{events} events, {len(names)} parameters ({', '.join(names)}), {directions} directions "
        f"of {channels[0].right.shape[1]} energies; median of 2000 calls; {inside * 1e3:.2f} ms "
        "each inside a jitted loop, as the sampler runs it"
    )
    return [Row(f"{single * 1e3:.2f} ms", detail)]


def nuts(card: Card, options: argparse.Namespace) -> list[Row]:
    """Sample the posterior of the events."""
    experiment, channels = far_detector(card)
    import jax

    from bayesxs.inference.posterior import posterior_tree, summarize
    from bayesxs.inference.thinning import thinned_channels
    from bayesxs.runs.settings import run_settings
    from bayesxs.runs.stages import far_sampler

    s, settings = card.sampler, run_settings(card)
    # As a run does; it takes part of the time, since a run does it for each posterior
    few, thinning = clock(
        lambda: thinned_channels(channels, experiment.priors, experiment.parameters)
    )
    draws, first, second = clock_sampler(lambda: far_sampler(experiment, settings, few), few)
    first, second = first + thinning, second + thinning
    summary = summarize(posterior_tree(draws, jax.random.key(2)))
    least = minimum_ess(summary)
    steps = int(draws.statistics["n_steps"].sum())
    return [
        Row(
            f"{first:.1f} s; {least:.0f}; {summary['divergences']}",
            f"{s.chains} x ({s.warmup} + {s.draws}); {second:.1f} s once compiled in the process; "
            f"{steps / draws.statistics['n_steps'].size:.1f} gradients per draw",
        )
    ]


def replicas(card: Card, options: argparse.Namespace) -> list[Row]:
    """Bootstrap the maximum-likelihood estimate."""
    experiment, channels = far_detector(card)
    number = card.bootstrap.replicas
    result, first, second = clock_bootstrap(
        channels, experiment.priors, experiment.parameters, number
    )
    failed = int((~result.converged).sum())
    detail = (
        f"{number} replicas, {failed} not converged; {second:.1f} s once compiled in the process"
    )
    return [Row(f"{first:.1f} s", detail)]


def probability(card: Card, options: argparse.Namespace) -> list[Row]:
    """Time P(mu -> mu) on one core."""
    import oscillation  # before JAX starts: it asks for one thread

    use_cores(1)
    import jax
    import jax.numpy as jnp
    import numpy as np

    from bayesxs.physics import oscillation as physics
    from bayesxs.physics.nufit import nufit_6_0

    jax.config.update("jax_enable_x64", True)
    params = physics.OscillationParameters(*map(jnp.asarray, nufit_6_0()))

    def survival(p: Any, energy: Any) -> Any:
        return physics.probability("mu", "mu", p, energy)

    forward = jax.jit(survival)
    both = jax.jit(jax.value_and_grad(oscillation.total(survival)))
    shown = {}
    for size in oscillation.SIZES:
        energy = np.geomspace(0.3, 20.0, size)
        times = (oscillation.time_call(f, params, energy) / size for f in (forward, both))
        shown[size] = " / ".join(f"{1e9 * t:.0f}" for t in times) + " ns"
    least, most = oscillation.SIZES
    gradients = oscillation.gradient_loop(jnp.asarray(np.geomspace(0.3, 20.0, least)))
    loop = oscillation.median_time(gradients, params, repeats=10)
    per_energy = 1e9 * loop / oscillation.LOOP / least
    detail = (
        f"one Newton step, {most} energies; {least} energies: {shown[least]}, and the gradient "
        f"{per_energy:.0f} ns inside a jitted loop"
    )
    return [Row(shown[most], detail)]


TASKS = {
    "training": Task(
        training, [("training, {preset} preset, 2 CPU cores, from cold", "90 s", "30 s")]
    ),
    "evaluations": Task(
        evaluations,
        [
            (
                "network evaluations per step against one per grid point, same grid",
                "50x fewer",
                "500x",
            )
        ],
    ),
    "likelihood": Task(
        likelihood, [("far log-likelihood + gradient, 6200 unbinned events", "1 ms", "0.2 ms")]
    ),
    "nuts": Task(
        nuts,
        [
            (
                "NUTS 4 x (1000 + 1000), compilation included; min bulk ESS; divergences",
                "20 s; 800; 0",
                "8 s; 2000; 0",
            )
        ],
        rerun=True,
    ),
    "bootstrap": Task(
        replicas, [("bootstrap, 1000 replicas, compilation included", "10 s", "2 s")], rerun=True
    ),
    "oscillation": Task(
        probability,
        [
            (
                "P(mu->mu), float64, per energy, one core, forward / value+gradient",
                "60 / 350 ns",
                "30 / 200 ns",
            )
        ],
    ),
    "run": Task(
        whole_run,
        [
            ("`bayesxs run`, {preset} preset, cold, 2 cores", "6 min", "2 min"),
            ("peak memory of the main job", "3 GB", "1 GB"),
        ],
    ),
    "help": Task(show_help, [("`bayesxs --help`", "0.5 s", "0.2 s")]),
}


def measure(name: str, arguments: list[str]) -> list[Row] | None:
    """Measure a task in a process of its own, and once more where compiled programs help."""
    with tempfile.TemporaryDirectory(prefix="bayesxs-benchmark-") as cache:
        say(f"{name} ...")
        found = work(__file__, name, arguments, cold_cache(cache))
        if found is None:
            return None
        rows = [Row(*row) for row in found]
        again = TASKS[name].rerun and work(__file__, name, arguments, cold_cache(cache))
        if again:
            warm = again[0][0].split(";")[0]
            detail = f"{rows[0].detail}; {warm} in a new process with JAX's compilation cache"
            rows = [rows[0]._replace(detail=detail)]
        return rows


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--preset", default="default", help="quick, default or paper")
    parser.add_argument(
        "--only", default=",".join(TASKS), help=f"comma-separated: {', '.join(TASKS)}"
    )
    parser.add_argument("--cores", type=int, default=2, help="processor cores to use")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a key of the card"
    )
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--result", help=argparse.SUPPRESS)
    options = parser.parse_args()

    from bayesxs.cards.card import load_card
    from bayesxs.cards.overrides import parse_overrides
    from bayesxs.errors import InputError

    try:
        card = load_card(preset=options.preset, overrides=parse_overrides(options.set))
    except InputError as error:
        parser.error(str(error))
    if options.worker:
        answer(options.result, TASKS[options.worker].measure(card, options))
        return 0
    chosen = options.only.split(",")
    unknown = [name for name in chosen if name not in TASKS]
    if unknown:
        parser.error(f"--only: no such row: {', '.join(unknown)}")
    use_cores(options.cores)
    about = machine()
    arguments = [f"--preset={options.preset}", *(f"--set={change}" for change in options.set)]
    lines, failed = [], False
    for name in (task for task in TASKS if task in chosen):
        figures = TASKS[name].figures
        rows = measure(name, arguments)
        failed = failed or rows is None
        for (figure, must, aim), row in zip(
            figures, rows or [Row("failed", "")] * len(figures), strict=True
        ):
            lines.append((figure.format(preset=options.preset), must, aim, *row))
    print(f"Measured on {about}.\n")
    print(markdown(("figure", "must", "aim", "measured", "how"), lines))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
