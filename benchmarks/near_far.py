"""Measure what near and far data tell of flux and oscillation in one model; print a table.

Far data are the expected ones. Errors are those of Laplace's method, from second derivatives at the
maximum: given the near data alone, in two steps (near data tell nothing of the flux), and jointly.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from shared import machine, markdown, say

CARD = Path(__file__).parent.parent / "models" / "near-far.toml"
STEPS = 6  # of Newton's method
UNITS = {"dm31": 1e-5, "s2_23": 1e-2}  # sizes of numbers near one
NAMES = {"near": "near data alone", "two": "two steps", "joint": "near and far, one model"}


class Fit(NamedTuple):
    """Maximum less the true values, and standard deviations; NaN where nothing is known."""

    best: np.ndarray
    sd: np.ndarray


def learned_channels(preset: str, events: float) -> Any:
    """Learn a cross section of near data of the card; return the channels of its experiment."""
    import xarray as xr

    import bayesxs
    from bayesxs.cards.build import build_experiment, build_training, build_uncertainty
    from bayesxs.cards.card import load_card
    from bayesxs.experiment.channels import Channels

    card = load_card(CARD, preset)
    experiment = build_experiment(card)
    near = experiment.near_data(events=events, key=None if math.isinf(events) else 0)
    uncertainty, training = build_uncertainty(card), build_training(card)
    learned = bayesxs.learn(near, training=training, uncertainty=uncertainty, progress=False)
    say(f"  {learned.targets['mu'].words}")
    sizes = xr.Dataset({"sample": ("event", np.zeros(card.far.events, dtype=int))})
    return Channels(experiment, learned, sizes)


def fits(channels: Any) -> dict[str, Fit]:
    """Return what is found of parameters and nuisances by each way of inference."""
    import jax
    import jax.numpy as jnp

    from bayesxs.inference.channel import log_likelihood
    from bayesxs.learning.near_term import near_constraint, near_log_prob

    far, near = channels.of_asimov("learned"), channels.near_terms()
    true, first = channels.experiment.parameters, len(UNITS)

    def height(x: Any, terms: Any, far: Any) -> Any:
        moved = {n: getattr(true, n) + x[i] * u for i, (n, u) in enumerate(UNITS.items())}
        eta = x[first:]
        value = log_likelihood(far, true._replace(**moved), eta) - 0.5 * eta @ eta
        return value + near_log_prob(terms, eta)

    slope = jax.jit(jax.grad(height))

    @jax.jit
    def bend(x: Any, terms: Any, far: Any) -> Any:
        def column(axis: Any) -> Any:
            return jax.jvp(lambda x: jax.grad(height)(x, terms, far), (x,), (axis,))[1]

        return jax.lax.map(column, jnp.eye(len(x)))

    known = near_constraint(near, len(channels.nuisances))
    nothing = np.full(first, np.nan)
    widths = np.sqrt(np.diag(np.asarray(known.root @ known.root.T)))
    found = {
        "near": Fit(np.append(nothing, np.asarray(known.mean)), np.append(nothing, widths)),
    }
    blind = tuple(term.blind() for term in near)
    for way, terms, start in (("two", blind, 0.0 * known.mean), ("joint", near, known.mean)):
        x = jnp.append(jnp.zeros(first), start)
        for _ in range(STEPS):
            step = np.linalg.solve(-np.asarray(bend(x, terms, far)), slope(x, terms, far))
            x = x + step / max(1.0, float(np.abs(step).max()) / 3.0)
        say(f"  {way}: last step {np.abs(step).max():.1e}")
        covariance = np.linalg.inv(-np.asarray(bend(x, terms, far)))
        found[way] = Fit(np.asarray(x), np.sqrt(np.diag(covariance)))
    return found


def rows_of(found: dict[str, Fit], nuisances: list[str], s2_23: float) -> list[list[str]]:
    """Return the rows of the table."""
    sine = 4.0 * (1.0 - 2.0 * s2_23) * UNITS["s2_23"]  # of sin2_2theta23 = 4 s (1 - s)
    shown = [("dm31 [1e-5 eV²]", 0, 1.0, 3), ("sin2_2theta23 [1e-3]", 1, 1e3 * sine, 3)]
    flux = [i for i, n in enumerate(nuisances, len(UNITS)) if n.startswith("flux_")]
    shown += [(nuisances[i - len(UNITS)], i, 1.0, 2) for i in flux]
    rows = []
    for words, i, scale, digits in shown:
        pairs = [(scale * found[way].best[i], abs(scale) * found[way].sd[i]) for way in NAMES]
        rows.append(
            [words, *("" if np.isnan(b) else f"{b:+.{digits}f} ± {s:.{digits}f}" for b, s in pairs)]
        )
    widths = [np.sqrt(np.mean(found[way].sd[flux] ** 2)) for way in NAMES]
    rows.append(["flux, root mean square width", *(f"{w:.3f}" for w in widths)])
    return rows


def main() -> None:
    """Print the table."""
    import bayesxs

    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--preset", default="quick", help="quick, default or paper")
    parser.add_argument("--events", type=float, default=1e7, help="of the near detector; inf")
    options = parser.parse_args()
    about = machine()
    bayesxs.enable_x64()
    channels = learned_channels(options.preset, options.events)
    names = [n.name for n in channels.nuisances]
    s2_23 = float(channels.experiment.parameters.s2_23)
    rows = rows_of(fits(channels), names, s2_23)
    print(f"{about}\n\n{options.events:g} near events, preset {options.preset}; parameters less")
    print("the true ones, nuisances in prior widths (truth: 0).\n")
    print(markdown(("", *NAMES.values()), rows))


if __name__ == "__main__":
    main()
