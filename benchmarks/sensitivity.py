"""Time DUNE's four samples in reconstructed energy: log-likelihood with gradient, and scans of dCP.

Run as `python benchmarks/sensitivity.py [OUT.png]`. Scans have 37 true phases, nine normalisations,
six oscillation parameters and the density, in both orderings and octants. Processor seconds stand
beside those of the clock, which a busy machine lengthens. With a path the figure is drawn.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from math import pi, sin
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from shared import clock, machine, markdown, median_seconds, say

jax.config.update("jax_enable_x64", True)

from bayesxs.cards.build_counted import build_samples  # noqa: E402
from bayesxs.cards.counted import load_counted_card  # noqa: E402
from bayesxs.detector.reconstructed import (  # noqa: E402
    ReconstructedSamples,
    reconstructed_samples,
)
from bayesxs.inference.sensitivity import Asimov, cp_violation, dcp_scan, true_coordinates  # noqa: E402
from bayesxs.inputs.globes.dune import embedded_dune  # noqa: E402
from bayesxs.physics.oscillation import OscillationParameters  # noqa: E402
from bayesxs.report.plots_asimov import scan_figure  # noqa: E402
from bayesxs.report.style import to_png  # noqa: E402

# NuFit 4.0, as the published configuration has it
TRUTH = OscillationParameters(
    *(sin(angle) ** 2 for angle in (0.5903, 0.150, 0.866)), 0.0, 7.39e-5, 2.451e-3 + 7.39e-5
)
LOOP = 300


def main() -> None:
    samples = reconstructed_samples(embedded_dune())
    everything = build_samples(load_counted_card("dune-four-nuisances"))
    rows = [gradient_row(samples), gradient_row(everything)]

    asimov = Asimov(samples.rates(), len(samples.errors))
    phases = np.linspace(-pi, pi, 37)
    truth = true_coordinates(TRUTH._replace(dcp=phases))
    scans: tuple[tuple[str, Callable[[], Any]], ...] = (
        ("CP violation, 37 phases, with compilation", lambda: cp_violation(asimov, truth)),
        ("the same once compiled", lambda: cp_violation(asimov, truth)),
        ("CP violation, ordering, resolution", lambda: dcp_scan(asimov, TRUTH, phases)),
    )
    for name, scan in scans:
        say(name)
        begin = time.process_time()
        found, seconds = clock(scan)
        rows.append([name, f"{seconds:.1f} s", f"{time.process_time() - begin:.1f} s"])
    print(machine(), end="\n\n")
    print(markdown(["what", "clock", "processors"], rows))
    if len(sys.argv) > 1:
        with open(sys.argv[1], "wb") as stream:
            stream.write(to_png(scan_figure(found)))


def gradient_row(samples: ReconstructedSamples) -> list[str]:
    """Time the log-likelihood of samples with its gradient."""
    rates = samples.rates()
    counts = rates(TRUTH)

    @jax.jit
    @jax.value_and_grad
    def log_likelihood(v: jax.Array) -> jax.Array:
        mu = rates(OscillationParameters(*v[:6]), v[6], v[7:])
        return jnp.sum(counts * jnp.log(mu) - mu) - 0.5 * jnp.sum(v[7:] ** 2)

    v = jnp.array([*TRUTH, 2.848, *np.zeros(rates.nuisances)])
    jax.block_until_ready(log_likelihood(v))
    each = median_seconds(log_likelihood, v, repeats=LOOP)
    name = f"log-likelihood with gradient, {len(v)} parameters"
    return [name, f"{1e3 * each:.2f} ms", ""]


if __name__ == "__main__":
    main()
