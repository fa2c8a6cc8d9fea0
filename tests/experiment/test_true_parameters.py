"""What a card leaves unwritten of nature's oscillation parameters."""

from __future__ import annotations

from math import pi

import pytest

from bayesxs.cards.build import build_experiment, true_parameters
from bayesxs.cards.card import load_card
from bayesxs.cards.overrides import parse_overrides

# NuFit-6.0, arXiv:2410.05380, table 1: s2_12, s2_13, s2_23, dcp in degrees, dm21
NUFIT = {
    ("ic24", "normal"): (0.308, 0.02215, 0.470, 212.0, 7.49e-5),
    ("ic24", "inverted"): (0.308, 0.02231, 0.550, 274.0, 7.49e-5),
    ("ic19", "normal"): (0.307, 0.02195, 0.561, 177.0, 7.49e-5),
    ("ic19", "inverted"): (0.308, 0.02224, 0.562, 285.0, 7.49e-5),
}
NAMES = ("s2_12", "s2_13", "s2_23", "dcp", "dm21")


def card(variant, *changes):
    chosen = [f'oscillation.parameters="nufit-6.0-{variant}"', *changes]
    return load_card(preset="quick", overrides=parse_overrides(chosen))


@pytest.mark.parametrize("variant", ["ic24", "ic19"])
@pytest.mark.parametrize(
    ("dm31", "ordering"), [(None, "normal"), (2.4e-3, "normal"), (-2.4e-3, "inverted")]
)
def test_the_set_follows_the_ordering(variant, dm31, ordering):
    changes = [] if dm31 is None else [f"oscillation.dm31={dm31}"]
    if ordering == "inverted":
        changes.append('priors.dm31={type="nufit"}')
    found = true_parameters(card(variant, *changes))
    *values, dcp, dm21 = NUFIT[variant, ordering]
    assert found[:5] == pytest.approx((*values, dcp * pi / 180.0, dm21), rel=1e-12)
    assert found.dm31 == (2.513e-3 if variant == "ic24" else 2.534e-3) if dm31 is None else dm31


@pytest.mark.parametrize(("sign", "ordering"), [(1, "normal"), (-1, "inverted")])
def test_priors_of_the_same_name_lie_on_the_truth(sign, ordering):
    free = [f'priors.{name}={{type="nufit"}}' for name in (*NAMES, "dm31")]
    experiment = build_experiment(card("ic24", f"oscillation.dm31={sign * 2.45e-3}", *free))
    for name in NAMES:
        assert experiment.priors[name].mean == getattr(experiment.parameters, name)
    assert sign * experiment.priors["dm31"].mean > 0.0


def test_what_is_written_stays():
    found = true_parameters(
        card(
            "ic24",
            "oscillation.dm31=-2.4e-3",
            "oscillation.s2_23=0.44",
            'priors.dm31={type="nufit"}',
        )
    )
    assert (found.s2_23, found.s2_13) == (0.44, 0.02231)
