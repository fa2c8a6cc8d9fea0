"""Measure the package beside what one would take in its place: same work, same process, same run.

- probabilities: P(mu -> mu) and P(mu -> e) in matter of constant density, and their gradient,
  beside jaxnu (JAX) and nuTens (PyTorch), on one core.
- posterior: effective samples per second of the default posterior, beside a NumPyro model of the
  same likelihood as one would write it down, and the ensemble sampler emcee, on two cores.

The extra `benchmark` installs them, but for nuTens, which has to be built (README.md). Those that
are absent are left out and named.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from shared import answer, clock, cold_cache, machine, markdown, say, use_cores, work

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jax import Array

    from bayesxs.experiment.experiment import Experiment
    from bayesxs.inference.channel import FarChannel
    from bayesxs.inference.folded import Folded, Oscillation

ENERGIES = 10_000
REPEATS = 200  # calls of a probability
CHANNELS = (("mu", "mu"), ("mu", "e"))
FLAVORS = ("e", "mu", "tau")

# Of emcee: walkers, steps that are thrown away, steps that are kept
WALKERS, BURN_IN, STEPS = 32, 500, 2000

NUTENS_PARAMETERS = ("theta12", "theta13", "theta23", "deltacp", "dmsq21", "dmsq31")
NUTENS_POTENTIAL = 2.0 * 0.76294e-4  # its constants.hpp: eV^2 per GeV and mol/cm^3

ONE_THREAD = {
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
    "OMP_NUM_THREADS": "1",
}

Table = dict[str, Any]


# probabilities


class Calls(NamedTuple):
    """The probability of one channel at all energies in one package, ready to be called.

    Attributes:
        value: returns probabilities as an array of JAX or PyTorch.
        both: returns their sum with its gradient in all six parameters.
    """

    value: Callable[[], Any]
    both: Callable[[], Any]


def in_bayesxs(energies: Any, channel: tuple[str, str]) -> Calls:
    """Return the calls of this package."""
    import jax.numpy as jnp

    from bayesxs.physics.nufit import nufit_6_0
    from bayesxs.physics.oscillation import OscillationParameters, probability

    params = OscillationParameters(*map(jnp.asarray, nufit_6_0()))
    return _of_jax(lambda p, e: probability(*channel, p, e), params, jnp.asarray(energies))


def in_jaxnu(energies: Any, channel: tuple[str, str]) -> Calls:
    """Return the calls of jaxnu, with its default method (NuFast)."""
    import jax.numpy as jnp
    import jaxnu

    from bayesxs.physics.nufit import nufit_6_0
    from bayesxs.physics.oscillation import DUNE

    numbers = nufit_6_0()
    angles = (jnp.arcsin(jnp.sqrt(s)) for s in numbers[:3])
    params = jaxnu.OscParams(*angles, *map(jnp.asarray, numbers[3:]))
    start, end = map(FLAVORS.index, channel)

    def survival(p: Any, energy: Array) -> Array:
        return jaxnu.probability_constant(p, energy, *DUNE, flavor_in=start, flavor_out=end)

    return _of_jax(survival, params, jnp.asarray(energies))


def _of_jax(function: Callable[[Any, Array], Array], params: Any, energies: Array) -> Calls:
    import jax

    value = jax.jit(function)
    both = jax.jit(jax.value_and_grad(lambda p, e: function(p, e).sum()))
    return Calls(lambda: value(params, energies), lambda: both(params, energies))


def in_nutens(energies: Any, channel: tuple[str, str]) -> Calls:
    """Return the calls of nuTens, with its NuFast propagator and one Newton step, as here.

    It has a matter potential and squared masses of the other sign, and rounds probabilities to
    single precision; the density makes up for the potential's constant, which differs by 4e-4.
    """
    import nuTens
    import torch
    from nuTens.propagator import DPpropagator
    from nuTens.tensor import Tensor

    from bayesxs.constants import MATTER_POTENTIAL
    from bayesxs.physics.nufit import nufit_6_0
    from bayesxs.physics.oscillation import DUNE

    torch.set_num_threads(1)
    numbers = nufit_6_0()
    signed = (*numbers[:4], -numbers.dm21, -numbers.dm31)
    leaves = [torch.tensor([v], dtype=torch.float64, requires_grad=True) for v in signed]
    tensors = [Tensor.from_torch_tensor(leaf) for leaf in leaves]
    energy = Tensor.from_torch_tensor(torch.tensor(energies * nuTens.units.GeV + 0j))
    potential = MATTER_POTENTIAL * DUNE.electron_fraction * DUNE.density
    propagator = DPpropagator(1).set_sin_squared_thetas(True).set_antineutrino(False)
    propagator.set_baseline(DUNE.length * nuTens.units.km)
    propagator.set_density(potential / NUTENS_POTENTIAL)
    for name, tensor in zip(NUTENS_PARAMETERS, tensors, strict=True):
        getattr(propagator, f"set_{name}")(tensor)
    start, end = map(FLAVORS.index, channel)

    def survival() -> Any:
        propagator.set_energies(energy)  # a new tensor for the result: the old one has a graph
        return propagator.calculate_probs().torch_tensor()[:, start, end]

    def value() -> Any:
        with torch.no_grad():
            return survival()

    def both() -> Any:
        total = survival().sum()
        return total, torch.autograd.grad(total, leaves)

    return Calls(value, both)


PACKAGES: dict[str, Callable[[Any, tuple[str, str]], Calls]] = {
    "bayesxs": in_bayesxs,
    "jaxnu": in_jaxnu,
    "nuTens": in_nutens,
}


def probabilities(options: argparse.Namespace) -> list[Table]:
    """Compare probabilities, then time them."""
    use_cores(1)
    import jax
    import numpy as np

    jax.config.update("jax_enable_x64", True)
    energies = np.geomspace(0.3, 20.0, ENERGIES)
    present, absent = installed(PACKAGES)
    agreement, times = [], []
    for channel in CHANNELS:
        calls = {name: make(energies, channel) for name, make in present.items()}
        values = {name: np.asarray(c.value()) for name, c in calls.items()}
        shown = f"P({channel[0]} -> {channel[1]})"
        agreement.append(
            (shown, *(f"{np.abs(v - values['bayesxs']).max():.1e}" for v in values.values()))
        )
        for what, kind in (("value", "value"), ("value and gradient", "both")):
            found = interleaved({name: getattr(c, kind) for name, c in calls.items()}, REPEATS)
            ours = found["bayesxs"]
            cells = (
                f"{1e9 * t / ENERGIES:.1f} ns" + (f" ({t / ours:.1f}x)" if t != ours else "")
                for t in found.values()
            )
            times.append((f"{shown}, {what}", *cells))
    return [
        {
            "title": "Largest difference of the probabilities from those of bayesxs, 0.3 to 20 GeV",
            "head": ("", *present),
            "rows": agreement,
        },
        {
            "title": f"Time per energy, one core, {ENERGIES} energies, double precision, median of "
            f"{REPEATS} calls in turn{missing(absent)}",
            "head": ("", *present),
            "rows": times,
        },
    ]


def installed[T](choices: Mapping[str, T]) -> tuple[dict[str, T], list[str]]:
    """Return the choices whose packages can be imported, and the names of the others."""
    absent = [name for name in choices if importlib.util.find_spec(name) is None]
    return {name: c for name, c in choices.items() if name not in absent}, absent


def missing(names: list[str]) -> str:
    """Name what is not installed."""
    return "".join(f"; {name} is not installed" for name in names)


def interleaved(calls: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Return the median time of each call in seconds; they take turns, so that all share noise."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        clock(call)
    for _ in range(repeats):
        for name, call in calls.items():
            times[name].append(clock(call)[1])
    return {name: statistics.median(t) for name, t in times.items()}


# posterior


class Sampled(NamedTuple):
    """A run of a sampler.

    Attributes:
        dm31: in eV^2, shape (chains, draws).
        offset: of s2_23 from 1/2, shape (chains, draws).
        evaluations: of log-likelihood or gradient, for both octants together, warm-up too if it
            is known.
    """

    dm31: Any
    offset: Any
    evaluations: str


class Posterior(NamedTuple):
    """The same posterior for all samplers: dm31 and the offset of s2_23, the octant summed over."""

    experiment: Experiment
    folded: Folded
    oscillation: Oscillation
    channel: FarChannel
    settings: Any


def of_bayesxs(posterior: Posterior) -> Callable[[int], Sampled]:
    """Return the package's own sampler and likelihood, with the settings of a run."""
    import jax

    from bayesxs.inference.model import far_detector_model, initial_values
    from bayesxs.inference.sampling import NutsSampler

    experiment, settings = posterior.experiment, posterior.settings
    priors, fixed = experiment.priors, experiment.parameters

    def model(channels: list[FarChannel]) -> None:
        far_detector_model(channels, priors, fixed)

    sampler = NutsSampler(model, settings, initial_values(priors, fixed))

    def run(seed: int) -> Sampled:
        draws = sampler.run(([posterior.channel],), jax.random.key(seed))
        steps = draws.statistics["n_steps"].mean()
        sites = draws.sites
        return Sampled(sites["dm31"], sites["s2_23_offset"], f"{steps:.1f} gradients a draw")

    return run


def of_numpyro(posterior: Posterior) -> Callable[[int], Sampled]:
    """Return a NumPyro model of T[event, E] times flux times P, sampled by NumPyro's defaults."""
    import jax
    import jax.numpy as jnp
    import numpyro
    from jax.scipy.special import logsumexp
    from numpyro import distributions as dist
    from numpyro.infer import MCMC, NUTS

    rows, totals = (jnp.asarray(part) for part in posterior.folded.response)
    energies = jnp.asarray(posterior.experiment.energies.points)
    flux = jnp.asarray(posterior.folded.flux)
    fixed, priors = posterior.experiment.parameters, posterior.experiment.priors

    def model(rows: Array, totals: Array) -> None:
        dm31 = numpyro.sample("dm31", dist.Uniform(priors["dm31"].low, priors["dm31"].high))
        offset = numpyro.sample("offset", dist.Uniform(-0.5, 0.5))

        def log_likelihood(s2_23: Array) -> Array:
            theta = fixed._replace(dm31=dm31, s2_23=s2_23)
            spectrum = flux * posterior.oscillation.probability(theta, energies)
            return jnp.log(rows @ spectrum).sum() - len(rows) * jnp.log(totals @ spectrum)

        octants = jax.vmap(log_likelihood)(0.5 + jnp.stack([offset, -offset]))
        numpyro.factor("far", logsumexp(octants))

    settings = posterior.settings
    sampler = MCMC(
        NUTS(model),
        num_warmup=settings.warmup,
        num_samples=settings.draws,
        num_chains=settings.chains,
        progress_bar=False,
    )

    def run(seed: int) -> Sampled:
        sampler.run(jax.random.key(seed), rows, totals, extra_fields=("num_steps",))
        steps = sampler.get_extra_fields()["num_steps"].mean()
        draws = sampler.get_samples(group_by_chain=True)
        return Sampled(draws["dm31"], draws["offset"], f"{steps:.1f} gradients a draw")

    return run


def of_emcee(posterior: Posterior) -> Callable[[int], Sampled]:
    """Return emcee's ensemble with the package's compiled likelihood, many points a call."""
    import emcee
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax.scipy.special import logsumexp

    from bayesxs.inference.channel import log_likelihood

    fixed, prior = posterior.experiment.parameters, posterior.experiment.priors["dm31"]

    @jax.jit
    def several(points: Array, channel: FarChannel) -> Array:
        def one(point: Array) -> Array:
            def octant(s2_23: Array) -> Array:
                return log_likelihood([channel], fixed._replace(dm31=point[0], s2_23=s2_23))

            octants = jax.vmap(octant)(0.5 + jnp.stack([point[1], -point[1]]))
            inside = (point[0] > prior.low) & (point[0] < prior.high) & (abs(point[1]) < 0.5)
            return jnp.where(inside, logsumexp(octants), -jnp.inf)

        return jax.vmap(one)(points)

    def log_density(points: Any) -> Any:
        return np.asarray(several(points, posterior.channel))

    def run(seed: int) -> Sampled:
        rng = np.random.default_rng(seed)
        start = np.array([float(fixed.dm31), float(fixed.s2_23) - 0.5])
        begin = start * (1.0 + 0.01 * rng.standard_normal((WALKERS, 2)))
        begin[:, 1] *= rng.choice([-1.0, 1.0], WALKERS)  # the density is even in the offset
        sampler = emcee.EnsembleSampler(WALKERS, 2, log_density, vectorize=True)
        sampler.random_state = np.random.RandomState(seed).get_state()
        sampler.run_mcmc(begin, BURN_IN + STEPS)
        chains = sampler.get_chain(discard=BURN_IN).swapaxes(0, 1)
        length = sampler.get_autocorr_time(discard=BURN_IN, quiet=True).max()
        return Sampled(
            chains[..., 0],
            chains[..., 1],
            f"{WALKERS} x ({BURN_IN} + {STEPS}) values, {length:.0f} steps of autocorrelation",
        )

    return run


SAMPLERS: dict[str, tuple[str, Callable[[Posterior], Callable[[int], Sampled]]]] = {
    "bayesxs": ("bayesxs", of_bayesxs),
    "numpyro": ("NumPyro, rows as they are", of_numpyro),
    "emcee": ("emcee, bayesxs's likelihood", of_emcee),
}


def posterior(options: argparse.Namespace) -> list[Table]:
    """Sample the default posterior of unbinned events with each sampler, compilation left out."""
    use_cores(options.cores)
    import numpy as np
    from table import compressed, folded_events

    from bayesxs.cards.build import build_sampler
    from bayesxs.cards.card import load_card
    from bayesxs.cards.overrides import parse_overrides

    card = load_card(preset="default", overrides=parse_overrides(options.set))
    experiment, folded, oscillation = folded_events(card)
    channel = compressed(experiment, folded, oscillation)
    shared = Posterior(experiment, folded, oscillation, channel, build_sampler(card))
    present, absent = installed(SAMPLERS)
    rows, moments = [], []
    for label, make in present.values():
        run = make(shared)
        run(0)
        found = [measured(run, 1 + i) for i in range(options.repeats)]
        per_run = np.array([(f.ess, f.wall, f.busy, f.ess / f.wall, f.ess / f.busy) for f in found])
        ess, wall, busy, rate, busy_rate = np.median(per_run, axis=0)
        rows.append(
            (
                label,
                f"{ess:.0f}",
                f"{wall:.1f} s",
                f"{busy:.1f} s",
                f"{rate:.0f}",
                f"{busy_rate:.0f}",
                found[-1].evaluations,
            )
        )
        moments.append((label, *found[-1].moments))
        say(f"  {', '.join(rows[-1])}; {moments[-1]}")
    s = shared.settings
    return [
        {
            "title": f"Mean and standard deviation, and their Monte Carlo errors, of "
            f"{card.far.events} events; the octant is summed over in each",
            "head": ("", "dm31, 1e-3 eV^2", "sd", "sin2_2theta23", "sd"),
            "rows": moments,
        },
        {
            "title": f"Smallest bulk ESS of dm31 and sin2_2theta23, {s.chains} x ({s.warmup} + "
            f"{s.draws}) of NUTS, {options.cores} cores; warm-up included, compilation not; "
            f"medians of {options.repeats}{missing(absent)}",
            "head": ("", "ESS", "wall", "processor", "ESS/s", "ESS/processor s", "work"),
            "rows": rows,
        },
    ]


class Measured(NamedTuple):
    """What a run of a sampler gave, and what it cost in seconds, compilation apart."""

    ess: float
    wall: float
    busy: float
    moments: tuple[str, ...]
    evaluations: str


def measured(run: Callable[[int], Sampled], seed: int) -> Measured:
    """Time a run whose programs are compiled, and judge its draws."""
    import arviz as az
    import numpy as np

    compiled: list[float] = []
    busy = time.process_time()
    with compilation(compiled):
        sampled, wall = clock(lambda: run(seed))
    busy = time.process_time() - busy
    quantities = (
        np.asarray(sampled.dm31) * 1e3,
        1.0 - 4.0 * np.asarray(sampled.offset) ** 2,
    )
    moments = []
    for values in quantities:
        moments.append(f"{values.mean():.5f} +- {float(az.mcse(values, method='mean')):.5f}")
        moments.append(f"{values.std():.5f} +- {float(az.mcse(values, method='sd')):.5f}")
    ess = min(float(az.ess(values, method="bulk")) for values in quantities)
    spent = sum(compiled)
    return Measured(ess, wall - spent, busy - spent, tuple(moments), sampled.evaluations)


@contextmanager
def compilation(seconds: list[float]) -> Iterator[None]:
    """Note the seconds that JAX spends on tracing and compiling: NumPyro does some in every run."""
    import jax

    def listen(event: str, duration: float, **_: Any) -> None:
        if event.startswith("/jax/core/compile/"):
            seconds.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


TASKS: dict[str, tuple[Callable[[argparse.Namespace], list[Table]], dict[str, str]]] = {
    "probabilities": (probabilities, ONE_THREAD),
    "posterior": (posterior, {}),
}


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--only", default=",".join(TASKS), help=f"comma-separated: {', '.join(TASKS)}"
    )
    parser.add_argument("--repeats", type=int, default=3, help="runs of each sampler")
    parser.add_argument("--cores", type=int, default=2, help="processor cores of the samplers")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a key of the card"
    )
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--result", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        answer(options.result, TASKS[options.worker][0](options))
        return 0
    chosen = options.only.split(",")
    unknown = [name for name in chosen if name not in TASKS]
    if unknown:
        parser.error(f"--only: no such part: {', '.join(unknown)}")
    about = machine()
    arguments = [f"--repeats={options.repeats}", f"--cores={options.cores}"]
    arguments += [f"--set={change}" for change in options.set]
    print(f"Measured on {about}.")
    failed = False
    for name in chosen:
        say(f"{name} ...")
        with tempfile.TemporaryDirectory(prefix="bayesxs-benchmark-") as cache:
            tables = work(__file__, name, arguments, TASKS[name][1] | cold_cache(cache))
        failed = failed or tables is None
        for table in tables or []:
            print(f"\n{table['title']}:\n\n{markdown(table['head'], table['rows'])}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
