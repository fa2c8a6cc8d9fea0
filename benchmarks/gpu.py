"""Time training, NUTS, bootstrap and calibration on the device that JAX finds and on the CPU.

Run as `python benchmarks/gpu.py`, the package installed or on PYTHONPATH. Every figure comes from a
process of its own, without compiled programs from earlier runs: if one ends badly the others stand.
All end within `--limit` seconds; parts that no time is left for are named. Only the rooms that
compute are imported: pydantic, typer, ArviZ and h5netcdf may be missing.
"""

from __future__ import annotations

import argparse
import math
import re
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from shared import (
    answer,
    clock,
    clock_bootstrap,
    clock_sampler,
    cold_cache,
    machine,
    markdown,
    processor,
    say,
    work,
)

from bayesxs.session import available_cores

if TYPE_CHECKING:
    from bayesxs.detector.grid import EnergyGrid
    from bayesxs.inference.channel import FarChannel
    from bayesxs.inference.priors import Prior
    from bayesxs.inference.sampling import NutsSampler
    from bayesxs.inputs.flux import Flux
    from bayesxs.physics.oscillation import OscillationParameters
    from bayesxs.physics.structure_functions import PartonFunctions

# The default preset, written out here because cards need pydantic; `compare_with_card` checks it
DEFAULT: dict[str, Any] = {
    "beam.energy_min_GeV": 0.5,
    "beam.energy_max_GeV": 10.0,
    "nature.protons": 18,
    "nature.neutrons": 22,
    "grid.energy_order": 3,
    "grid.lepton_energies": 80,
    "grid.z": 80,
    "grid.nodes_x": 48,
    "grid.nodes_q2": 48,
    "network.layers": 3,
    "network.width": 48,
    "network.activation": "algebraic",
    "network.inputs": "multi",
    "network.head": "helicity",
    "network.precision": "float64",
    "network.members": 1,
    "training.adam_steps": 500,
    "training.learning_rate": 1e-3,
    "training.lbfgs_steps": 5000,
    "training.gauss_newton_steps": 40,
    "training.floor": 0.02,
    "far.events": 6200,
    "priors.dm31.low": 2.0e-3,
    "priors.dm31.high": 3.0e-3,
    "priors.s2_23.low": 0.0,
    "priors.s2_23.high": 1.0,
    "sampler.warmup": 1000,
    "sampler.draws": 1000,
    "sampler.target_accept": 0.9,
    "bootstrap.replicas": 1000,
}

# A campaign's own, which no preset holds
CALIBRATION: dict[str, Any] = {
    "sbc.warmup": 250,
    "sbc.draws": 500,
    "sbc.information_loss": 0.005,
}

# Without an option, in this order: what matters most comes first
TASKS = "training-gauss_newton,nuts-4,nuts-256,bootstrap,sbc-1000,training-lbfgs"


def compare_with_card() -> None:
    """Warn where the settings above are no longer those of the default preset."""
    try:
        from bayesxs.cards.card import load_card
    except ImportError:
        return
    for key, value in DEFAULT.items():
        found: Any = load_card()
        for part in key.split("."):
            found = getattr(found, part)
        if found != value:
            say(f"warning: {key} = {value} here, {found} in the default preset")


class Beam(NamedTuple):
    """What near and far detector share."""

    flux: Flux
    energies: EnergyGrid
    truth: PartonFunctions


def beam(settings: dict[str, Any]) -> Beam:
    """Return the DUNE neutrino beam and the true cross section."""
    from bayesxs.constants import MUON_MASS
    from bayesxs.detector.grid import energy_grid
    from bayesxs.inputs.flux import embedded_dune_flux
    from bayesxs.inputs.pdf import embedded_ct18nnlo
    from bayesxs.physics.structure_functions import PartonFunctions

    flux = embedded_dune_flux("neutrino")
    low, high = settings["beam.energy_min_GeV"], settings["beam.energy_max_GeV"]
    nucleons = settings["nature.protons"], settings["nature.neutrons"]
    return Beam(
        flux,
        energy_grid(flux.energy, low, high, settings["grid.energy_order"]),
        PartonFunctions(embedded_ct18nnlo(), *nucleons, MUON_MASS),
    )


def measure_training(settings: dict[str, Any]) -> dict[str, Any]:
    """Train the default network by the method that the settings name."""
    import jax
    import numpy as np

    from bayesxs.detector.exact import exact_response
    from bayesxs.detector.grid import lepton_grid, node_grid
    from bayesxs.detector.operator import build_operator, row_quadrature
    from bayesxs.experiment.learn import PROJECTION_RANK, SMALL_RANK
    from bayesxs.learning.near_problem import near_problem
    from bayesxs.learning.network import Architecture, Network, create_network
    from bayesxs.learning.training import Schedule, train

    method = settings["method"]
    flux, energies, truth = beam(settings)
    mass, high = truth.lepton_mass, settings["beam.energy_max_GeV"]
    bins = lepton_grid(high, settings["grid.lepton_energies"], settings["grid.z"], mass)
    nodes = node_grid(high, settings["grid.nodes_x"], settings["grid.nodes_q2"], mass)
    quadrature = row_quadrature(*bins.rows, energies, mass)
    near_flux = flux(14, energies.points)
    observed = exact_response(truth, quadrature, energies) @ near_flux
    matrix = build_operator(quadrature, energies, nodes).near_matrix(near_flux)
    rank = SMALL_RANK if method == "gauss_newton" else PROJECTION_RANK
    problem = near_problem(matrix, observed, nodes, floor=settings["training.floor"], rank=rank)
    chosen = ("layers", "width", "activation", "inputs", "head", "precision")
    architecture = Architecture(**{name: settings[f"network.{name}"] for name in chosen})
    if method == "gauss_newton":
        count = settings["training.gauss_newton_steps"]
        schedule = Schedule(adam_steps=0, lbfgs_steps=0, gauss_newton_steps=count)
        every = schedule.record_often
    else:
        steps = ("adam_steps", "learning_rate", "lbfgs_steps")
        schedule = Schedule(**{name: settings[f"training.{name}"] for name in steps})
        every = schedule.record_every

    start = time.perf_counter()
    marks: list[tuple[int, float]] = []

    def record(step: int, loss: float, best: Network, state: dict[str, Any]) -> None:
        marks.append((step, time.perf_counter()))

    network = train(
        create_network(architecture, jax.random.key(0)), problem, schedule, record=record
    )
    learned = matrix @ np.asarray(network(nodes.x, nodes.q2), dtype=float).ravel()
    seconds = time.perf_counter() - start
    # An optimizer's first piece, and a shorter last one, include compilation
    first = schedule.adam_steps if method == "lbfgs" else 0
    spans = [
        (b[1] - a[1]) / every for a, b in pairwise(marks) if a[0] > first and b[0] - a[0] == every
    ]
    difference = learned / learned.sum() - observed / observed.sum()
    error = np.linalg.norm(difference) / np.linalg.norm(observed / observed.sum())
    step = f", {1e3 * np.median(spans):.2f} ms a step" if spans else ""
    return {
        "seconds": seconds,
        "shown": f"{seconds:.1f} s{step}",
        "result": f"near rel-L2 {error:.1e}",
    }


class Far(NamedTuple):
    """The far detector's data and what is to be inferred from them."""

    channels: list[FarChannel]
    priors: dict[str, Prior]
    fixed: OscillationParameters


def far_detector(settings: dict[str, Any], binned: bool = False) -> Far:
    """Fold events that are simulated, or the bins of any, with the true cross section."""
    import jax
    import numpy as np

    from bayesxs.detector.density import FoldedRows, Sample, simulate_events
    from bayesxs.detector.exact import exact_response
    from bayesxs.detector.grid import lepton_grid
    from bayesxs.detector.operator import row_quadrature, total_quadrature
    from bayesxs.inference.channel import far_channel
    from bayesxs.inference.compression import probability_span
    from bayesxs.inference.folded import Folded, Oscillation
    from bayesxs.inference.priors import Flat
    from bayesxs.physics.nufit import nufit_6_0
    from bayesxs.physics.oscillation import DUNE, probability

    flux, energies, truth = beam(settings)
    fixed, sample = nufit_6_0(), Sample("mu", "mu")
    priors: dict[str, Prior] = {
        name: Flat(settings[f"priors.{name}.low"], settings[f"priors.{name}.high"])
        for name in ("s2_23", "dm31")
    }
    number, mass = settings["far.events"], truth.lepton_mass
    energy_range = settings["beam.energy_min_GeV"], settings["beam.energy_max_GeV"]
    survival = jax.jit(lambda energy: probability("mu", "mu", fixed, energy, DUNE))

    def oscillated(energy: Any) -> Any:
        return flux(14, energy) * np.asarray(survival(energy))

    if binned:
        cells = settings["grid.lepton_energies"], settings["grid.z"]
        rows = lepton_grid(energy_range[1], *cells, mass).rows
    else:
        events = simulate_events(jax.random.key(1), truth, oscillated, energy_range, mass, number)
        rows = events.lepton_energy, events.z
    totals = total_quadrature(energies, mass)
    response = FoldedRows(
        exact_response(truth, row_quadrature(*rows, energies, mass), energies),
        exact_response(truth, totals, energies).sum(axis=1) * energies.weights,
    )
    oscillation, points = Oscillation(sample), energies.points
    span = probability_span(oscillation, points, priors, fixed)
    folded = Folded.plain(response, flux(14, points))
    reached = (folded.response.rows * folded.flux).sum(axis=1) > 0.0
    channel = far_channel(folded, points, reached.astype(float), oscillation, span)
    return Far([channel], priors, fixed)


def sampler_of(far: Far, settings: dict[str, Any]) -> NutsSampler:
    """Return a sampler started where a run starts it, without the app's, which needs a card."""
    from bayesxs.inference.model import far_detector_model, initial_values
    from bayesxs.inference.sampling import NutsSampler, SamplerSettings

    def model(channels: list[FarChannel]) -> None:
        far_detector_model(channels, far.priors, far.fixed)

    chosen = ("chains", "warmup", "draws", "target_accept")
    sampler = SamplerSettings(**{name: settings[f"sampler.{name}"] for name in chosen})
    return NutsSampler(model, sampler, initial_values(far.priors, far.fixed))


def measure_nuts(settings: dict[str, Any]) -> dict[str, Any]:
    """Sample the posterior."""
    far = far_detector(settings)
    draws, first, second = clock_sampler(lambda: sampler_of(far, settings), far.channels)
    dm31 = draws.sites["dm31"]
    divergences = int(draws.statistics["diverging"].sum())
    return {
        "seconds": first,
        "shown": f"{first:.1f} s, {second:.1f} s once compiled",
        "result": f"dm31 {dm31.mean():.4e} +- {dm31.std():.1e}, {divergences} divergences",
    }


def measure_bootstrap(settings: dict[str, Any]) -> dict[str, Any]:
    """Bootstrap the maximum-likelihood estimate."""
    far = far_detector(settings)
    found, first, second = clock_bootstrap(
        far.channels, far.priors, far.fixed, settings["bootstrap.replicas"]
    )
    dm31 = found.replicas["dm31"]
    failed = int((~found.converged).sum())
    return {
        "seconds": first,
        "shown": f"{first:.1f} s, {second:.1f} s once compiled",
        "result": f"dm31 {found.mle['dm31']:.4e} +- {dm31.std():.1e}, {failed} not converged",
    }


def measure_sbc(settings: dict[str, Any]) -> dict[str, Any]:
    """Sample one batch of pseudo-experiments, each of a truth and counts of its own."""
    import numpy as np

    from bayesxs.inference.binning import bin_groups, merged
    from bayesxs.inference.pseudo_experiments import BinnedExperiment
    from bayesxs.inference.sampling import SamplerSettings

    far, sizes = far_detector(settings, binned=True), (settings["far.events"],)
    groups = bin_groups(
        far.channels, sizes, far.priors, far.fixed, settings["sbc.information_loss"]
    )
    channels = tuple(merged(c, g) for c, g in zip(far.channels, groups, strict=True))
    warmup, draws = settings["sbc.warmup"], settings["sbc.draws"]
    sampler = SamplerSettings(
        settings["sampler.chains"], warmup, draws, record_every=math.gcd(warmup, draws)
    )
    experiment = BinnedExperiment(channels, sizes, far.priors, far.fixed, sampler, 5, 0)
    found, first = clock(lambda: experiment.run(0))
    _, second = clock(lambda: experiment.run(settings["sampler.chains"]))
    ranks = (found["draws/dm31"] < found["truth/dm31"][:, None]).mean(axis=1)
    return {
        "seconds": first,
        "shown": f"{first:.1f} s, {second:.1f} s once compiled",
        "result": f"mean rank of dm31 {ranks.mean():.3f} +- {1.0 / np.sqrt(12 * len(ranks)):.3f}, "
        f"{int(found['diverging'].sum())} divergences",
    }


def measure(task: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Carry out one task on the device that JAX finds."""
    from bayesxs.session import prepare_jax

    name, _, detail = task.partition("-")
    chains = int(detail) if detail.isdigit() else 4
    settings = settings | {"sampler.chains": chains, "method": detail}
    prepare_jax(min(chains, available_cores()))
    functions = {
        "training": measure_training,
        "nuts": measure_nuts,
        "bootstrap": measure_bootstrap,
        "sbc": measure_sbc,
    }
    return functions[name](settings)


def find_device() -> tuple[str, str]:
    """Return platform and name of JAX's first device, asked in a process that then frees it."""
    code = "import jax; d = jax.devices()[0]; print(d.platform, d.device_kind, sep='\\t')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    platform, name = done.stdout.strip().splitlines()[-1].split("\t")
    return platform, name


def label(task: str, settings: dict[str, Any]) -> str:
    """Describe a task."""
    s = settings
    name, _, detail = task.partition("-")
    if name == "training":
        steps = {
            "gauss_newton": f"{s['training.gauss_newton_steps']} Gauss-Newton steps",
            "lbfgs": f"{s['training.adam_steps']} Adam + {s['training.lbfgs_steps']} L-BFGS steps",
        }
        return f"training, {s['network.layers']}x{s['network.width']}, {steps[detail]}"
    if name == "bootstrap":
        return f"bootstrap, {s['bootstrap.replicas']} replicas"
    if name == "sbc":
        return f"batch of {detail} pseudo-experiments, {s['sbc.warmup']} + {s['sbc.draws']}"
    return f"NUTS, {detail} x ({s['sampler.warmup']} + {s['sampler.draws']})"


def arguments_of(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Return the options, and the settings that they change."""
    settings = DEFAULT | CALIBRATION
    parser.add_argument(
        "--tasks",
        default=TASKS,
        help="comma-separated: training-gauss_newton, training-lbfgs, bootstrap, nuts-N with N "
        "chains, sbc-N with N pseudo-experiments",
    )
    parser.add_argument("--no-cpu", action="store_true", help="leave the CPU out")
    parser.add_argument("--limit", type=float, default=540.0, help="seconds for all parts together")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=NUMBER",
        help=f"change a setting: {', '.join(settings)}",
    )
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--result", help=argparse.SUPPRESS)
    options = parser.parse_args()
    for change in options.set:
        key, _, value = change.partition("=")
        if key not in settings or isinstance(settings[key], str):
            parser.error(f"--set {key}: no such number")
        settings[key] = type(settings[key])(value)
    known = r"training-(gauss_newton|lbfgs)|bootstrap|(nuts|sbc)-[1-9]\d*"
    unknown = [t for t in options.tasks.split(",") if not re.fullmatch(known, t)]
    if unknown:
        parser.error(f"--tasks: no such task: {', '.join(unknown)}")
    return options, settings


def devices_of(options: argparse.Namespace) -> list[tuple[str, dict[str, str]]]:
    """Return names of the devices to measure, each with the environment that chooses it."""
    platform, name = find_device()
    devices: list[tuple[str, dict[str, str]]] = []
    if platform != "cpu":
        devices.append((name, {}))
    if platform == "cpu" or not options.no_cpu:
        here = f"{processor()}, {available_cores()} cores"
        devices.append((here, {"JAX_PLATFORMS": "cpu"}))
    return devices


def main() -> int:
    """Print the table."""
    begin = time.monotonic()
    options, settings = arguments_of(
        argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    )
    if options.worker:
        answer(options.result, measure(options.worker, settings))
        return 0
    compare_with_card()
    about, devices = machine(), devices_of(options)
    arguments = [f"--set={change}" for change in options.set]
    lines, failed = [], False
    for task in options.tasks.split(","):
        results = []
        for device, environment in devices:
            left = options.limit - (time.monotonic() - begin)
            if left < 5.0:
                results.append({"seconds": None, "shown": "no time left", "result": "-"})
                continue
            say(f"{task} on {device} ...")
            with tempfile.TemporaryDirectory(prefix="bayesxs-benchmark-") as cache:
                found = work(__file__, task, arguments, environment | cold_cache(cache), left)
            failed = failed or found is None
            results.append(found or {"seconds": None, "shown": "failed", "result": "-"})
        seconds = [result["seconds"] for result in results]
        ratio = f"{seconds[1] / seconds[0]:.1f}x" if len(seconds) == 2 and all(seconds) else "-"
        say(f"  {'; '.join(result['shown'] for result in results)}")
        lines.append(
            (
                label(task, settings),
                *(result["shown"] for result in results),
                *([ratio] if len(devices) == 2 else []),
                "; ".join(result["result"] for result in results),
            )
        )
    alone = len(devices) == 1
    note = " JAX finds no accelerator here." if alone and devices[0][1] else ""
    print(f"Double precision, compilation included; {about}.{note}\n")
    ratio_column = [] if alone else ["CPU over device"]
    columns = ["what", *(device for device, _ in devices), *ratio_column, "result"]
    print(markdown(columns, lines))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
