"""What near data leave open of a learned cross section, as nuisances of four samples.

The modes of a family (`bayesxs.experiment.shared`) are turned among themselves, which their prior
does not notice, so that few of them matter (`bayesxs.inference.mode_choice`) at several oscillation
parameters. Modes that leave muons as they are, and move electrons, are the uncertainty of the
nu_e/nu_mu cross section: a group of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bayesxs.detector.count_modes import TOLERANCE, compressed
from bayesxs.detector.density import Sample
from bayesxs.detector.few_energies import lagrange
from bayesxs.detector.lepton import LeptonSamples
from bayesxs.detector.rates import Rates
from bayesxs.experiment.geometry import Target
from bayesxs.experiment.lepton_fold import FoldedBeam
from bayesxs.inference.asimov import DCP, DENSITY, DM31, THETA23, coordinates, parameters
from bayesxs.inference.constraints import reactor_constraints
from bayesxs.inference.mode_choice import (
    LOST_COUNTS,
    LOST_ERROR,
    directions_that_matter,
    shared_with_modes,
)
from bayesxs.physics.oscillation import OscillationParameters
from bayesxs.types import Floats as Float

# Counts of a bin at least, where changes are compared with its error
_LEAST: Final = 0.01

_PHASES: Final = (-0.5 * np.pi, 0.0, 0.5 * np.pi, np.pi)
_WANTED: Final = [THETA23, DCP, DM31]

# Oscillation parameters whose spectra few numbers of the modes give: how many, and where
_SPECTRA: Final = 160
_BOX: Final = {"s2_13": (0.01, 0.04), "s2_23": (0.25, 0.75), "dm31": (1.5e-3, 4e-3)}


class _Part(NamedTuple):
    """A component of the samples, and whose modes move it."""

    place: int  # among the components
    beam: int
    sample: Sample
    exposure: float


@dataclass(frozen=True)
class _Owner:
    """Modes that move some components together: those of a family, or of one target."""

    name: str
    parts: tuple[_Part, ...]
    number: int
    ratios: int


class _Reference(NamedTuple):
    """Counts at several oscillation parameters.

    Attributes:
        errors: of the counts, (points, samples, bins).
        slopes: in coordinates and nuisances, over the errors, (points, samples x bins, n).
        precision: of their constraints, (points, n).
        spectra: probability of each component, (points, components, energies).
    """

    errors: Float
    slopes: Float
    precision: Float
    spectra: Float


def with_modes(
    samples: LeptonSamples, beams: Sequence[FoldedBeam], exposures: Sequence[float]
) -> LeptonSamples:
    """Return samples with modes of the learned cross section of each beam, if it has some.

    Args:
        samples: whose components are those of the beams, one after the other.
        beams: their cross sections.
        exposures: of the beams.
    """
    owners = _owners(beams, exposures)
    if not owners:
        return samples
    truth, rates = beams[0].experiment.parameters, samples.rates(all_bins=True)
    reference = _reference(rates, truth)
    spectra = _spectra(rates, truth)
    moves = [_moves(owner, beams, samples) for owner in owners]
    kept = _chosen(owners, moves, samples, reference)
    components, names = list(samples.components), dict(samples.cross_section)
    for owner, own_moves, (common, ratios) in zip(owners, moves, kept, strict=True):
        first = len(names)
        for group, number in (("cross_section", len(common)), ("lepton_ratio", len(ratios))):
            names |= {f"{group}_{owner.name}_{k}": group for k in range(number)}
        turned = np.zeros((len(names) - first, owner.number))
        turned[: len(common), : owner.number - owner.ratios] = common
        turned[len(common) :, owner.number - owner.ratios :] = ratios
        for part in owner.parts if len(turned) else ():
            events = np.einsum("mk,kbe->mbe", turned, own_moves[part.place])
            errors = reference.errors[:, components[part.place].sample].mean(axis=0)
            if np.linalg.norm(events / errors[:, None]) < TOLERANCE:
                continue
            found = compressed(events, errors, spectra[:, part.place], first)
            components[part.place] = replace(components[part.place], count_modes=found)
    return replace(samples, components=tuple(components), cross_section=names)


def _owners(beams: Sequence[FoldedBeam], exposures: Sequence[float]) -> list[_Owner]:
    """Return whose modes move which components."""
    parts: dict[str, list[_Part]] = {}
    numbers: dict[str, tuple[int, int]] = {}
    place = 0
    for number, (beam, exposure) in enumerate(zip(beams, exposures, strict=True)):
        assert beam.learned is not None
        for sample in beam.experiment.samples:
            target = beam.experiment.targets[sample]
            own = beam.learned.targets[target.name]
            if len(own.modes):
                name = own.family or f"{sample.beam}_{target.name}"
                parts.setdefault(name, []).append(_Part(place, number, sample, exposure))
                numbers[name] = len(own.modes), own.ratio_modes
            place += 1
    return [_Owner(name, tuple(own), *numbers[name]) for name, own in parts.items()]


def _moves(owner: _Owner, beams: Sequence[FoldedBeam], samples: LeptonSamples) -> dict[int, Float]:
    """Return what each learned mode adds to each component, (modes, bins, energies)."""
    folded: dict[tuple[int, str], Float] = {}
    out = {}
    for part in owner.parts:
        beam = beams[part.beam]
        target: Target = beam.experiment.targets[part.sample]
        key = part.beam, target.name
        if key not in folded:
            folded[key] = beam.modes(target)
        moved = part.exposure * folded[key] * beam.experiment.source_flux(part.sample)
        energies = beam.experiment.energies.points
        few = len(samples.energy) < len(energies)
        out[part.place] = moved @ lagrange(samples.energy, energies) if few else moved
    return out


def _reference(rates: Rates, truth: OscillationParameters) -> _Reference:
    """Return counts at the true parameters with other phases, in both orderings and octants."""
    other = 2.0 * truth.s2_12 * truth.dm21 - truth.dm31
    points = [
        truth._replace(dcp=phase, dm31=dm31, s2_23=s2_23)
        for dm31 in (truth.dm31, other)
        for s2_23 in (truth.s2_23, 1.0 - truth.s2_23)
        for phase in _PHASES
    ]
    x = np.stack([coordinates(point, np.asarray(rates.baseline.density)) for point in points])

    @jax.jit
    def at_points(rates: Rates, x: jax.Array) -> tuple[jax.Array, ...]:
        def of_one(x: jax.Array) -> tuple[jax.Array, ...]:
            def point(x: jax.Array) -> tuple[OscillationParameters, jax.Array]:
                return parameters(x), x[DENSITY]

            return *rates.linearised(point, x, jnp.zeros(rates.nuisances)), rates.spectra(*point(x))

        return jax.lax.map(of_one, x)

    counts, in_x, in_eta, spectra = (np.asarray(a) for a in at_points(rates, jnp.asarray(x)))
    errors = np.sqrt(np.maximum(counts, _LEAST))
    constraints = reactor_constraints(x) ** -2.0
    return _Reference(
        errors.reshape(len(x), rates.samples, -1),
        np.concatenate([in_x, in_eta], axis=2) / errors[:, :, None],
        np.concatenate([constraints, np.ones((len(x), rates.nuisances))], axis=1),
        spectra,
    )


def _spectra(rates: Rates, truth: OscillationParameters) -> Float:
    """Return probabilities at oscillation parameters of all kinds, (points, components, e)."""
    rng = np.random.default_rng(0)
    drawn = {name: rng.uniform(*ends, _SPECTRA) for name, ends in _BOX.items()}
    drawn["dm31"] *= rng.choice([-1.0, 1.0], _SPECTRA)
    points = truth._replace(dcp=rng.uniform(-np.pi, np.pi, _SPECTRA), **drawn)
    every = OscillationParameters(*(np.broadcast_to(value, _SPECTRA) for value in points))
    found = jax.jit(lambda rates, p: jax.lax.map(rates.spectra, p))(rates, every)
    return np.asarray(found)


def _chosen(
    owners: Sequence[_Owner],
    moves: Sequence[dict[int, Float]],
    samples: LeptonSamples,
    reference: _Reference,
) -> list[tuple[Float, Float]]:
    """Return orthonormal combinations of each owner's modes that matter.

    Args:
        owners: of the modes.
        moves: what each mode adds to each component, (modes, bins, energies).
        samples: that they move.
        reference: counts there.

    Returns:
        Of each owner those that move muons, (kept, modes but ratios), and of ratios.
    """
    own = [
        _changes(owner, found, samples, reference)
        for owner, found in zip(owners, moves, strict=True)
    ]
    changes = np.concatenate(own)
    blocks, first = [], 0
    for owner in owners:
        ratios, last = first + owner.number - owner.ratios, first + owner.number
        blocks += [slice(first, ratios), slice(ratios, last)]
        first = last
    inside = samples.inside.ravel()
    at = zip(reference.slopes, reference.precision, changes.transpose(1, 2, 3, 0), strict=True)
    shared = np.concatenate(
        [
            shared_with_modes(
                slopes[inside], moved.reshape(len(inside), -1)[inside], precision, _WANTED
            )
            for slopes, precision, moved in at
        ]
    )
    mean = changes / np.sqrt(changes.shape[1])
    found = directions_that_matter(shared, mean, blocks, (LOST_ERROR, LOST_COUNTS))
    return list(zip(found[::2], found[1::2], strict=True))


def _changes(
    owner: _Owner, moves: dict[int, Float], samples: LeptonSamples, reference: _Reference
) -> Float:
    """Return what modes add to the counts, over their errors, (modes, points, samples, bins)."""
    changes = np.zeros((owner.number, *reference.errors.shape))
    for part in owner.parts:
        own = np.einsum("kbe,pe->kpb", moves[part.place], reference.spectra[:, part.place])
        changes[:, :, samples.components[part.place].sample] += own
    return np.where(samples.inside, changes / reference.errors, 0.0)
