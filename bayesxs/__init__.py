"""Bayesian inference for neutrino experiments with learned cross sections.

An analysis from a card, stored in a folder:

import bayesxs
run = bayesxs.run(preset="quick", out="runs/first")
run.posterior("learned")      # an ArviZ DataTree
run.figure("posterior")       # a matplotlib Figure

The same as objects, for models of your own:

bayesxs.enable_x64()
exp = bayesxs.Experiment(bayesxs.dune_flux(), bayesxs.QuarkParton(bayesxs.ct18nnlo()))
far = exp.likelihood(exp.simulate(key=1), bayesxs.learn(exp.near_data()))
far.log_prob(bayesxs.NUFIT_6_0)
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

from bayesxs import fork as fork

if TYPE_CHECKING:
    from bayesxs.api import (
        Campaign as Campaign,
    )
    from bayesxs.api import (
        Run as Run,
    )
    from bayesxs.api import (
        campaign as campaign,
    )
    from bayesxs.api import (
        open_campaign as open_campaign,
    )
    from bayesxs.api import (
        open_run as open_run,
    )
    from bayesxs.api import (
        run as run,
    )
    from bayesxs.cards.card import Card as Card
    from bayesxs.cards.card import load_card as load_card
    from bayesxs.counted import (
        Inference as Inference,
    )
    from bayesxs.counted import (
        Sensitivity as Sensitivity,
    )
    from bayesxs.counted import (
        infer as infer,
    )
    from bayesxs.counted import (
        open_inference as open_inference,
    )
    from bayesxs.counted import (
        open_sensitivity as open_sensitivity,
    )
    from bayesxs.counted import (
        sensitivity as sensitivity,
    )
    from bayesxs.errors import InputError as InputError

# In notebooks without ipywidgets tqdm warns when NumPyro imports it; its bars are not drawn here
warnings.filterwarnings("ignore", "IProgress not found")

# Where each public name lives. They are imported when first used: JAX takes a second to start, and
# `bayesxs --help` does without it
_HOMES = {
    "Acceptance": "bayesxs.detector.smearing",
    "Architecture": "bayesxs.learning.network",
    "Baseline": "bayesxs.physics.oscillation",
    "Campaign": "bayesxs.api",
    "CountedLikelihood": "bayesxs.inference.counted",
    "Card": "bayesxs.cards.card",
    "Certain": "bayesxs.experiment.uncertainty",
    "Ensemble": "bayesxs.experiment.uncertainty",
    "EventNature": "bayesxs.experiment.generated",
    "Experiment": "bayesxs.experiment.experiment",
    "FarData": "bayesxs.inference.far_data",
    "Flat": "bayesxs.inference.priors",
    "Flux": "bayesxs.inputs.flux",
    "Gaussian": "bayesxs.inference.priors",
    "GaussianDetector": "bayesxs.experiment.settings",
    "GaussianProcess": "bayesxs.experiment.uncertainty",
    "Grid": "bayesxs.experiment.settings",
    "Inference": "bayesxs.counted",
    "InputError": "bayesxs.errors",
    "Laplace": "bayesxs.experiment.uncertainty",
    "LearnedCrossSection": "bayesxs.experiment.cross_section",
    "Likelihood": "bayesxs.inference.likelihood",
    "Modification": "bayesxs.physics.modification",
    "NUFIT_6_0": "bayesxs.physics.nufit",
    "Nucleus": "bayesxs.physics.nucleus",
    "OscillationParameters": "bayesxs.physics.oscillation",
    "ParametricFluxUncertainty": "bayesxs.experiment.settings",
    "QuarkParton": "bayesxs.physics.nature",
    "ResponseParameters": "bayesxs.detector.smearing",
    "Run": "bayesxs.api",
    "Sample": "bayesxs.detector.density",
    "SamplerSettings": "bayesxs.inference.sampling",
    "Schedule": "bayesxs.learning.training",
    "Sensitivity": "bayesxs.counted",
    "TabulatedFluxUncertainty": "bayesxs.experiment.settings",
    "Training": "bayesxs.experiment.learn",
    "bootstrap": "bayesxs.experiment.library",
    "campaign": "bayesxs.api",
    "cross_section_ratio": "bayesxs.experiment.library",
    "ct18nnlo": "bayesxs.experiment.library",
    "counted_likelihood": "bayesxs.experiment.counted",
    "dune_experiment": "bayesxs.experiment.beams",
    "dune_flux": "bayesxs.experiment.library",
    "dune_samples": "bayesxs.experiment.counted",
    "enable_x64": "bayesxs.session",
    "events_from_arrays": "bayesxs.inputs.generators.arrays",
    "flux": "bayesxs.experiment.library",
    "globes_samples": "bayesxs.experiment.counted",
    "infer": "bayesxs.counted",
    "learn": "bayesxs.experiment.library",
    "learn_together": "bayesxs.experiment.beams",
    "lepton_samples": "bayesxs.experiment.lepton",
    "les_houches": "bayesxs.experiment.library",
    "lhapdf": "bayesxs.experiment.library",
    "load_card": "bayesxs.cards.card",
    "near_counts": "bayesxs.inputs.counts",
    "near_events": "bayesxs.experiment.leptons",
    "nufit_6_0": "bayesxs.physics.nufit",
    "open_campaign": "bayesxs.api",
    "open_inference": "bayesxs.counted",
    "open_run": "bayesxs.api",
    "open_sensitivity": "bayesxs.counted",
    "probability": "bayesxs.physics.oscillation",
    "read_cross_section": "bayesxs.experiment.library",
    "read_events": "bayesxs.inputs.generators.read",
    "read_flux": "bayesxs.experiment.library",
    "run": "bayesxs.api",
    "sample": "bayesxs.experiment.library",
    "sensitivity": "bayesxs.counted",
}

__all__ = sorted([*_HOMES, "__version__"])


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("bayesxs")
    if name not in _HOMES:
        raise AttributeError(f"module 'bayesxs' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return list(__all__)
