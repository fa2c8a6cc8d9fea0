"""Train on near-detector events one by one, and on the same events in bins; print a table.

Both losses start from the same initial weights. The events are drawn from the true cross section,
from which distances of the learned one are then taken.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from itertools import pairwise

from shared import machine, markdown, say

from bayesxs.cards.card import Card, load_card
from bayesxs.cards.overrides import parse_overrides
from bayesxs.errors import InputError

HEADINGS = (
    "nature",
    "seed",
    "loss",
    "rows",
    "data, s of processor",
    "training, s of processor",
    "near rel-L2",
    "far rel-L2",
    "3-D rel-L2",
)


def measure(card: Card) -> list[list[str]]:
    """Return a row of the table for each loss."""
    from bayesxs.cards.build import build_experiment, build_training, near_sources
    from bayesxs.experiment.judge import Judge
    from bayesxs.experiment.learn import train_group, training_data
    from bayesxs.experiment.near import NearData

    experiment = build_experiment(card)
    (near,) = NearData(experiment, near_sources(card, experiment)).detectors.values()
    geometry, sample = near.geometry, experiment.samples[0]
    oscillation = experiment.oscillation(sample, experiment.energies.points)
    far = experiment.source_flux(sample) * oscillation
    judge = Judge(geometry, {"near": geometry.target.near_flux, "far": far})
    say(f"seed {card.seed}: {near.events:.0f} events in {near.matrix.shape[0]} bins")
    rows = []
    for loss in ("binned", "unbinned"):
        training = dataclasses.replace(build_training(card), loss=loss)
        clocks = [time.process_time()]
        data = training_data(near, training)
        problem = data.nominal
        clocks.append(time.process_time())
        (network,) = train_group(training, data, card.seed, 0, [0])
        clocks.append(time.process_time())
        errors = judge.errors(geometry.node_values(network))
        assert problem.lift is not None
        row = [card.nature.type, str(card.seed), loss, str(problem.lift.shape[0])]
        row += [f"{after - before:.1f}" for before, after in pairwise(clocks)]
        names = ("near_rel_l2", "far_rel_l2", "cross_section_3d_rel_l2")
        rows.append([*row, *(f"{errors[name]:.1e}" for name in names)])
        say(" | ".join(rows[-1]))
    return rows


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--card", help="models/nucleus.toml, for one; partons if none")
    parser.add_argument("--preset", default="quick", help="quick, default or paper")
    parser.add_argument("--events", type=float, default=1e6, help="of the near detector")
    parser.add_argument("--seeds", default="1,2", help='as in "1,2"')
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a key of the card"
    )
    options = parser.parse_args()
    about = machine()
    rows = []
    try:
        own = parse_overrides(options.set)
        chosen = {"near.events": int(options.events), "training.loss": "unbinned"}
        for seed in options.seeds.split(","):
            overrides = chosen | {"seed": int(seed)} | own
            card = load_card(options.card, preset=options.preset, overrides=overrides)
            from bayesxs.session import prepare_jax

            prepare_jax(1)
            rows += measure(card)
    except InputError as error:
        parser.error(str(error))
    print(f"Preset {options.preset}, {options.events:.0f} near events, on {about}.\n")
    print(markdown(HEADINGS, rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
