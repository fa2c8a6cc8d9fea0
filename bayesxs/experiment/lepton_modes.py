"""What near data leave open of a learned cross section, as nuisances of four samples.

The modes of a family (`bayesxs.experiment.shared`) are turned among themselves, which their prior
does not notice, so that few of them matter: with D their changes of far counts, over statistical
errors, at several oscillation parameters, those are kept that D's singular values say. Modes that
leave muons as they are, and move electrons, are the uncertainty of the nu_e/nu_mu cross section: a
group of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np

from bayesxs.detector.count_modes import TOLERANCE, compressed
from bayesxs.detector.density import Sample
from bayesxs.detector.lepton import LeptonSamples
from bayesxs.experiment.experiment import Experiment
from bayesxs.experiment.geometry import Target
from bayesxs.experiment.lepton_fold import FoldedBeam
from bayesxs.physics.oscillation import OscillationParameters
from bayesxs.types import Floats as Float

# By how many statistical errors, in all bins together, a unit of all modes that are left out may
# change the counts. No parameter moves by more, in its own errors (Cauchy-Schwarz): an error comes
# out too small by a part of 0.0013 at most
NEGLIGIBLE: Final = 0.05

# Counts of a bin at least, where changes are compared with its error
_LEAST: Final = 0.01

_PHASES: Final = (-0.5 * np.pi, 0.0, 0.5 * np.pi, np.pi)


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
    spectra = _reference_spectra(samples, beams)
    counts = np.zeros((spectra.shape[1], *samples.inside.shape))
    for component, own in zip(samples.components, spectra, strict=True):
        counts[:, component.sample] += own @ component.events.T
    errors = np.sqrt(np.maximum(counts, _LEAST))
    components, names = list(samples.components), dict(samples.cross_section)
    for owner in owners:
        moves = _moves(owner, beams, samples)
        turned, common = _chosen(owner, moves, samples, spectra, errors)
        first = len(names)
        groups = ["cross_section"] * common + ["lepton_ratio"] * (len(turned) - common)
        for k, group in enumerate(groups):
            number = k if group == "cross_section" else k - common
            names[f"{group}_{owner.name}_{number}"] = group
        for part in owner.parts if len(turned) else ():
            events = np.einsum("mk,kbe->mbe", turned, moves[part.place])
            own_errors = errors[:, components[part.place].sample].mean(axis=0)
            if np.linalg.norm(events / own_errors[:, None]) < TOLERANCE:
                continue
            found = compressed(events, own_errors, first)
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
        out[part.place] = part.exposure * folded[key] * beam.experiment.source_flux(part.sample)
    return out


def _reference_spectra(samples: LeptonSamples, beams: Sequence[FoldedBeam]) -> Float:
    """Return probabilities of each component at several parameters, (components, points, e)."""
    found = [
        [beam.experiment.oscillation(sample, samples.energy, at) for at in _points(beam.experiment)]
        for beam in beams
        for sample in beam.experiment.samples
    ]
    return np.array(found)


def _points(experiment: Experiment) -> list[OscillationParameters]:
    """Return the true parameters with other phases, in both orderings."""
    truth = experiment.parameters
    other = 2.0 * truth.s2_12 * truth.dm21 - truth.dm31
    return [
        truth._replace(dcp=phase, dm31=dm31) for dm31 in (truth.dm31, other) for phase in _PHASES
    ]


def _chosen(
    owner: _Owner, moves: dict[int, Float], samples: LeptonSamples, spectra: Float, errors: Float
) -> tuple[Float, int]:
    """Return orthonormal combinations of modes that matter, and how many of them move muons.

    Args:
        owner: of the modes.
        moves: what each adds to each component, (modes, bins, energies).
        samples: that they move.
        spectra: at reference parameters, (components, points, energies).
        errors: of the counts there, (points, samples, bins).

    Returns:
        Of shape (kept, modes), first those that move muons.
    """
    changes = np.zeros((owner.number, *errors.shape))
    for part in owner.parts:
        own = np.einsum("kbe,pe->kpb", moves[part.place], spectra[part.place])
        changes[:, :, samples.components[part.place].sample] += own
    changes = np.where(samples.inside, changes / errors, 0.0) / np.sqrt(len(errors))
    common = owner.number - owner.ratios
    parts = [_leading(changes[:common]), _leading(changes[common:])]
    turned = np.zeros((sum(map(len, parts)), owner.number))
    turned[: len(parts[0]), :common] = parts[0]
    turned[len(parts[0]) :, common:] = parts[1]
    return turned, len(parts[0])


def _leading(changes: Float) -> Float:
    """Return the orthonormal combinations of rows (modes, ...) that are worth keeping."""
    number = len(changes)
    if not number:
        return np.zeros((0, 0))
    left, sizes, _ = np.linalg.svd(changes.reshape(number, -1), full_matrices=False)
    left_out = np.sqrt(np.append(np.cumsum(sizes[::-1] ** 2)[::-1], 0.0))
    turned = left.T[: int(np.argmax(left_out < NEGLIGIBLE))]
    # The sign of a singular vector is arbitrary: the largest element is made positive
    largest = np.argmax(np.abs(turned), axis=1)
    return turned * np.sign(turned[np.arange(len(turned)), largest])[:, None]
