"""Presets of the analysis card: their changes to the defaults in `bayesxs.cards.card`."""

from __future__ import annotations

from typing import Final

PRESETS: Final[dict[str, dict[str, object]]] = {
    "default": {},
    # Small enough for a continuous-integration machine: about a minute for the whole run.
    "quick": {
        # The form that a small network learns best
        "nature": {"form": "collinear"},
        "grid": {"energy_order": 2, "lepton_energies": 40, "z": 40, "nodes_x": 32, "nodes_q2": 32},
        "network": {"head": "positive", "layers": 3, "width": 32},
        "training": {"gauss_newton_steps": 24},
        "sampler": {"warmup": 300, "draws": 300},
        "bootstrap": {"replicas": 100},
        "report": {"predictive_draws": 50},
    },
    # The published recipe, arXiv:2412.16303.
    "paper": {
        "nature": {"form": "collinear"},
        "network": {
            "head": "unconstrained",
            "inputs": "plain",
            "layers": 4,
            "width": 64,
            "activation": "leaky_relu",
            "members": 1,
            "precision": "float32",
        },
        "training": {
            "method": "adam",
            "adam_steps": 10_000,
            "learning_rate": 1e-3,
            "weighting": "uniform",
        },
    },
}
