"""Beams side by side: DUNE's as experiments, and what is learned of all their near data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Literal

import jax

from bayesxs.detector.density import Flavor, Sample
from bayesxs.errors import InputError
from bayesxs.experiment.cross_section import LearnedCrossSection
from bayesxs.experiment.experiment import Experiment
from bayesxs.experiment.learn import (
    Training,
    families_of_beams,
    groups,
    train_family,
)
from bayesxs.experiment.near import NearData
from bayesxs.experiment.shared import learned_cross_sections
from bayesxs.experiment.target import AnyNature
from bayesxs.experiment.uncertainty import (
    Certain,
    Ensemble,
    GaussianProcess,
    Laplace,
    Uncertainty,
)
from bayesxs.inference.likelihood import require_double_precision
from bayesxs.inputs.flux import embedded_dune_flux
from bayesxs.inputs.pdf import embedded_ct18nnlo
from bayesxs.learning.gaussian_process import STEPS
from bayesxs.learning.network import Average, Network
from bayesxs.physics.nature import QuarkParton
from bayesxs.progress import Reporter, Update

UNCERTAINTIES: Final[Mapping[str, type[Uncertainty]]] = {
    kind.type: kind for kind in (Certain, GaussianProcess, Laplace, Ensemble)
}


# Flavors before and after oscillation of what four samples count in lepton kinematics
FATES: Final[tuple[tuple[Flavor, Flavor], ...]] = (("mu", "mu"), ("mu", "e"), ("e", "e"))


def dune_experiment(
    mode: Literal["neutrino", "antineutrino"] = "neutrino",
    nature: AnyNature | None = None,
    **options: Any,
) -> Experiment:
    """Return one beam of DUNE: its near and far fluxes, and six kinds of far-detector events.

    Muons of muon neutrinos, electrons that these turn into, and electrons of the beam's electron
    neutrinos, of neutrinos and of antineutrinos.

    Args:
        mode: polarity of the horns.
        nature: what makes the data; partons of argon (`bayesxs.QuarkParton`) if not given.
        options: further ones of `bayesxs.Experiment`, such as grid.

    Raises:
        InputError: as `bayesxs.Experiment`.

    Example:
        >>> [sample.name for sample in bayesxs.dune_experiment(nature=exp.nature).samples][:2]
        ['mu_to_mu', 'mu_to_e']
    """
    samples = tuple(
        Sample(before, after, bar, mode)
        for bar in ((False, True) if mode == "neutrino" else (True, False))
        for before, after in FATES
    )
    chosen = QuarkParton(embedded_ct18nnlo()) if nature is None else nature
    far_flux = embedded_dune_flux(mode, "far")
    return Experiment(embedded_dune_flux(mode), chosen, samples, far_flux=far_flux, **options)


def learn_together(
    near: Sequence[NearData],
    *,
    training: Training | None = None,
    uncertainty: Uncertainty | Literal["none", "gaussian_process", "laplace", "ensemble"] = "none",
    key: jax.Array | int = 0,
    progress: bool = True,
) -> tuple[LearnedCrossSection, ...]:
    """Learn cross sections from the near-detector data of several beams.

    Networks that leptons share (`bayesxs.Training.share`) are fitted to the samples of all beams.

    Args:
        near: of each beam, from `Experiment.near_data`.
        training: as for `learn`, and so are the others.
        uncertainty: source of the modes, of the near data of each beam; of all beams' where leptons
            share networks and the source is a Gaussian process. They are ranked by what they change
            of far counts, near rates being known, as `lepton_samples` takes them.
        key: random key or seed.
        progress: show progress bars.

    Returns:
        The cross section in each beam, in units of its own near rate.

    Raises:
        InputError: as `learn`; no near data, or the same ones twice.

    Example:
        >>> short = bayesxs.Training(schedule=bayesxs.Schedule(adam_steps=3, lbfgs_steps=0))
        >>> both = [near, exp.near_data()]
        >>> first, second = bayesxs.learn_together(both, training=short, progress=False)
        >>> list(second.targets)
        ['mu']
    """
    if not near:
        raise InputError.at("learn_together", "near", "()", "near data of one beam or more")
    for number, own in enumerate(near):
        if any(own is other for other in near[:number]):
            allowed = "each near data once: their events would count twice"
            raise InputError.at("learn_together", f"near[{number}]", "given before", allowed)
    return learn_beams(near, training, uncertainty, key, progress, rates=True)


def learn_beams(
    near: Sequence[NearData],
    training: Training | None,
    uncertainty: Uncertainty | str,
    key: jax.Array | int,
    progress: bool,
    *,
    rates: bool = False,
) -> tuple[LearnedCrossSection, ...]:
    """Learn as `learn_together`; without `rates` modes are those of the shapes of far spectra.

    Raises:
        InputError: as `learn_together`.
    """
    require_double_precision()
    source = _uncertainty(uncertainty)
    how = training or Training(members=8 if isinstance(source, Ensemble) else 1)
    if isinstance(source, Ensemble) and how.members < 2:
        raise InputError.at("learn", "training.members", how.members, "at least 2 for an ensemble")
    if how.share != "none":
        for own in near:
            _require_shared(source, own)
    reporter = Reporter(progress)
    networks = _trained(near, how, key, reporter)

    def bar(name: str) -> AbstractContextManager[Update]:
        return reporter.bar(f"cross-section modes, {name}", STEPS)

    averages = {name: Average(members) for name, members in networks.items()}
    shared = how.share != "none"
    return learned_cross_sections(near, averages, source, bar, shared=shared, rates=rates)


def _trained(
    near: Sequence[NearData], how: Training, key: jax.Array | int, reporter: Reporter
) -> dict[str, list[Network]]:
    """Train the networks of every target of every beam, by the names of `in_beam`."""
    networks: dict[str, list[Network]] = {}
    for family in families_of_beams(near, how):
        for group in groups(how.members):
            steps = how.schedule_for(family.data).steps
            with reporter.bar(f"training {', '.join(family.targets)}", steps) as update:

                def record(step: int, *_: object, update: Update = update) -> None:
                    update(step)

                found = train_family(how, family, key, group, record=record)
            for name, own in found.items():
                networks.setdefault(name, []).extend(own)
    return networks


def _require_shared(source: Uncertainty, near: NearData) -> None:
    """Refuse sources of modes that would take each lepton's near data alone.

    Raises:
        InputError: it is one, or takes near data that networks are not fitted to.
    """
    allowed = '"none", "ensemble" or "gaussian_process" with training.share = "helicity"'
    if not isinstance(source, Certain | Ensemble | GaussianProcess):
        raise InputError.at("learn", "uncertainty", source.type, allowed)
    if isinstance(source, Ensemble) and set(near.fitted) != set(near.sources):
        allowed = '"none" or "gaussian_process" where near_data has samples'
        raise InputError.at("learn", "uncertainty", source.type, allowed)


def _uncertainty(chosen: Uncertainty | str) -> Uncertainty:
    if isinstance(chosen, Uncertainty):
        return chosen
    if chosen not in UNCERTAINTIES:
        allowed = f"one of {', '.join(UNCERTAINTIES)}, or an object"
        raise InputError.at("learn", "uncertainty", chosen, allowed)
    return UNCERTAINTIES[chosen]()
