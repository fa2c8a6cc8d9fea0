"""Time P(mu -> mu) per energy: forward, and value with gradient of the sum, in double precision.

Run on one core as `taskset -c 0 python benchmarks/oscillation.py`. The NumPy row diagonalizes
the same Hamiltonians with `numpy.linalg.eigh` in the same run, for the scale of the machine.
"""

from __future__ import annotations

import os

os.environ.setdefault(
    "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from bayesxs.constants import MATTER_POTENTIAL, PHASE
from bayesxs.physics.nufit import nufit_6_0
from bayesxs.physics.oscillation import DUNE, NewtonSteps, OscillationParameters, probability

SIZES = (200, 10_000)
LOOP = 200


def eigh_survival(params: OscillationParameters, energy: NDArray[np.float64]) -> Any:
    """Return P(mu -> mu) at the DUNE baseline from numpy's eigenvectors."""
    s12, s13, s23 = np.sqrt(np.array(params[:3]))
    c12, c13, c23 = np.sqrt(1.0 - np.array(params[:3]))
    e = np.exp(1j * params.dcp)
    u = np.array(
        [
            [c12 * c13, s12 * c13, s13 / e],
            [-s12 * c23 - c12 * s23 * s13 * e, c12 * c23 - s12 * s23 * s13 * e, s23 * c13],
            [s12 * s23 - c12 * c23 * s13 * e, -c12 * s23 - s12 * c23 * s13 * e, c23 * c13],
        ]
    )
    vacuum = u @ np.diag([0.0, params.dm21, params.dm31]) @ u.conj().T
    hamiltonian = np.tile(vacuum, (energy.size, 1, 1))
    hamiltonian[:, 0, 0] += MATTER_POTENTIAL * DUNE.electron_fraction * DUNE.density * energy
    values, vectors = np.linalg.eigh(hamiltonian)
    phases = np.exp(-2j * PHASE * DUNE.length / energy[:, None] * values)
    return np.abs(np.sum(np.abs(vectors[:, 1]) ** 2 * phases, axis=1)) ** 2


def median_time(function: Callable[..., Any], *args: Any, repeats: int = 300) -> float:
    """Return the median wall time of a call, s, after one that compiles."""
    jax.block_until_ready(function(*args))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function(*args))
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def gradient_loop(energy: jax.Array) -> Callable[..., Any]:
    """Return a jitted loop of gradients, as a sampler runs them: no Python call for each."""

    def one(params: OscillationParameters, _: None) -> tuple[OscillationParameters, None]:
        gradient = jax.grad(lambda p: probability("mu", "mu", p, energy).sum())(params)
        return jax.tree.map(lambda p, g: p * (1.0 + 1e-12 * jnp.tanh(g)), params, gradient), None

    return jax.jit(lambda params: jax.lax.scan(one, params, None, length=LOOP)[0])


def total(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Return the function summed over its array."""
    return lambda *args: function(*args).sum()


def time_call(function: Callable[..., Any], params: Any, energy: NDArray[np.float64]) -> float:
    """Return the median time of a jitted call, s, its arguments already in JAX."""
    return median_time(function, params, jnp.asarray(energy))


def main() -> None:
    """Print the table."""
    jax.config.update("jax_enable_x64", True)
    numbers = nufit_6_0()
    params = OscillationParameters(*(jnp.asarray(x) for x in numbers))
    choices: tuple[NewtonSteps, ...] = (0, 1, 2, "exact")
    print("P(mu -> mu), float64, one core, ns per energy (median)")
    print(f"{'':34s}" + "".join(f"{n:>10d} E" for n in SIZES))

    def row(name: str, measure: Callable[[NDArray[np.float64]], float]) -> None:
        grids = [np.geomspace(0.3, 20.0, n) for n in SIZES]
        print(f"{name:34s}" + "".join(f"{1e9 * measure(e) / e.size:12.1f}" for e in grids))

    for steps in choices:
        survival = partial(probability, "mu", "mu", newton_steps=steps)
        forward, both = jax.jit(survival), jax.jit(jax.value_and_grad(total(survival)))
        row(f"newton_steps={steps}, forward", partial(time_call, forward, params))
        row(f"newton_steps={steps}, value + gradient", partial(time_call, both, params))
    row(
        "gradient inside a jitted loop",
        lambda e: median_time(gradient_loop(jnp.asarray(e)), params, repeats=10) / LOOP,
    )
    row("numpy eigh, forward", lambda e: median_time(eigh_survival, numbers, e, repeats=20))

    energy = np.geomspace(0.3, 20.0, SIZES[-1])
    expected = eigh_survival(numbers, energy)
    print("largest difference from eigh, 0.3-20 GeV:", end="")
    for steps in choices:
        p = probability("mu", "mu", params, energy, newton_steps=steps)
        print(f"  {steps}: {np.abs(p - expected).max():.1e}", end="")
    print()


if __name__ == "__main__":
    main()
