"""Bayesian inference for neutrino experiments with learned cross sections.

import bayesxs
run = bayesxs.run(preset="quick", out="runs/first")
run.posterior("learned")      # an ArviZ DataTree
run.figure("posterior")       # a matplotlib Figure
run.summary["asimov"]
sbc = bayesxs.campaign("models/campaign-sbc.toml")
sbc.figure("ecdf")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bayesxs import fork as fork

if TYPE_CHECKING:
    from bayesxs.api import Campaign, Run, campaign, open_campaign, open_run, run
    from bayesxs.cards.card import Card, load_card
    from bayesxs.errors import InputError

# Imported when first used: JAX takes a second to start, and `bayesxs --help` does without it
_HOMES = {
    "run": "bayesxs.api",
    "open_run": "bayesxs.api",
    "Run": "bayesxs.api",
    "campaign": "bayesxs.api",
    "open_campaign": "bayesxs.api",
    "Campaign": "bayesxs.api",
    "Card": "bayesxs.cards.card",
    "load_card": "bayesxs.cards.card",
    "InputError": "bayesxs.errors",
}

__all__ = [
    "Campaign",
    "Card",
    "InputError",
    "Run",
    "campaign",
    "load_card",
    "open_campaign",
    "open_run",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'bayesxs' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
