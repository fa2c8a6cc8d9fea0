"""The cross section of a beam in the bins of its samples in lepton kinematics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from bayesxs.detector.batched import responses
from bayesxs.detector.density import Flavor, Sample
from bayesxs.detector.exact import exact_cross_section
from bayesxs.detector.lepton import LeptonResponse, exact_response
from bayesxs.detector.operator import (
    Operator,
    Quadrature,
    build_operator,
    fold,
    row_quadrature,
)
from bayesxs.detector.reco import RecoGrid, true_cells
from bayesxs.experiment.cross_section import LearnedCrossSection, LearnedTarget
from bayesxs.experiment.experiment import Experiment
from bayesxs.experiment.geometry import Geometry, Target
from bayesxs.experiment.settings import GaussianDetector
from bayesxs.physics.structure_functions import Positive
from bayesxs.types import Floats as Float

# Modes that are folded at once: bounds memory
_BATCH: Final = 16

# Cells of modes in energy and angle, and points of an interval of neutrino energies: what they lose
# of a bin's content, those of the mean give back
_CELLS: Final = (70, 40)
_ORDER: Final = 2


def beside(
    experiments: Sequence[Experiment], learned: Sequence[LearnedCrossSection]
) -> tuple[tuple[Geometry, LearnedTarget], ...]:
    """Return what was learned of near data of its own, in any beam."""
    return tuple(
        (experiment.geometry(target), own.targets[target.name])
        for experiment, own in zip(experiments, learned, strict=True)
        for target in experiment.unique_targets
        if own.targets[target.name].rates == "near"
    )


class FoldedBeam:
    """A cross section of one beam in the bins of its samples, made once for each kind of lepton.

    Attributes:
        experiment: the beam.
        learned: its learned cross section; None of another kind.
    """

    def __init__(
        self,
        experiment: Experiment,
        kind: str,
        detectors: Mapping[Flavor, GaussianDetector],
        learned: LearnedCrossSection | None = None,
        counted: Sequence[tuple[Geometry, LearnedTarget]] = (),
    ) -> None:
        """Hold what is folded on demand.

        Args:
            experiment: the beam.
            kind: of the cross section, "truth", "assumed" or "learned".
            detectors: response by lepton.
            learned: the learned one.
            counted: what was learned of near data of its own, in any beam, from which others of the
                family take their rate.
        """
        self.experiment = experiment
        self.learned = learned
        self._kind = kind
        self._counted = counted
        self._detectors = detectors
        self._grids = {
            s.flavor_out: experiment.geometry(experiment.targets[s]).grid
            for s in reversed(experiment.samples)
        }
        self._rows: dict[str, Float] = {}
        self._scales: dict[str, float] = {}
        self._operators: dict[str, tuple[LeptonResponse, Operator]] = {}

    def grid(self, flavor: Flavor) -> RecoGrid:
        """Return the bins of a lepton: those of the first sample that has it."""
        return self._grids[flavor]

    def rows(self, sample: Sample) -> Float:
        """Return the cross section in the bins of a sample, (bins, energies), in 1e-38 cm^2 GeV."""
        target = self.experiment.targets[sample]
        if target.name not in self._rows:
            geometry = self.experiment.geometry(target)
            if self.learned is not None:
                response, operator = self._operator(target)
                rows = response(operator.response(self._of(target).mean, clamp=True))
            else:
                response = self._response(geometry, target.sample.flavor_out)
                rows = response(self._fold(target, geometry, _quadrature(geometry, response)))
            self._rows[target.name] = rows * self._scale(target)
        return self._rows[target.name]

    def modes(self, target: Target) -> Float:
        """Return what the learned modes of a target change in its bins, (modes, bins, energies).

        They leave the near rate as it is by which the cross section's size is known.
        """
        own, geometry = self._of(target), self.experiment.geometry(target)
        response, operator = self._coarse(target)
        flux, exact = target.near_flux, self._rows[target.name]
        plain = self._scale(target) * response(operator.response(own.mean, clamp=True)) @ flux
        kept = (exact @ flux) / np.where(plain > 0.0, plain, np.inf)
        out = []
        for start in range(0, len(own.modes), _BATCH):
            part = responses(operator, own.modes[start : start + _BATCH])
            count, cells, energies = part.shape
            rows = response(part.transpose(1, 0, 2).reshape(cells, -1))
            out.append(rows.reshape(-1, count, energies).transpose(1, 0, 2))
        folded = np.concatenate(out) * self._scale(target) * kept[:, None]
        known, counted = self._known(geometry, own)
        changes = near_rates(known, counted.modes) / near_rates(known, counted.mean[None])
        return folded - changes[:, None, None] * exact

    def _of(self, target: Target) -> LearnedTarget:
        assert self.learned is not None
        return self.learned.targets[target.name]

    def _operator(self, target: Target) -> tuple[LeptonResponse, Operator]:
        if target.name not in self._operators:
            geometry = self.experiment.geometry(target)
            response = self._response(geometry, target.sample.flavor_out)
            quadrature = _quadrature(geometry, response)
            operator = build_operator(quadrature, geometry.energies, geometry.nodes)
            self._operators[target.name] = response, operator
        return self._operators[target.name]

    def _coarse(self, target: Target) -> tuple[LeptonResponse, Operator]:
        """Return response and operator of modes."""
        g = self.experiment.geometry(target)
        response = self._response(g, target.sample.flavor_out)
        if response.parameters is None:
            return self._operator(target)
        cells = true_cells(float(g.energies.edges[-1]), *_CELLS, g.lepton_mass)
        at = cells.lepton_energy, cells.z, g.energies, g.lepton_mass
        quadrature = row_quadrature(*at, order=_ORDER, space=g.space)
        return replace(response, points=cells), build_operator(quadrature, g.energies, g.nodes)

    def _response(self, geometry: Geometry, flavor: Flavor) -> LeptonResponse:
        grid, mass = self._grids[flavor], geometry.lepton_mass
        if flavor not in self._detectors:
            return exact_response(grid, mass)
        detector = self._detectors[flavor]
        seen = detector.resolutions, detector.acceptance, mass, detector.stochastic
        return LeptonResponse(geometry.cells, grid, *seen)

    def _fold(self, target: Target, geometry: Geometry, quadrature: Quadrature) -> Float:
        """Return the rows of a quadrature, (rows, energies)."""
        if self._kind == "truth" and quadrature is geometry.cell_quadrature:
            return geometry.true_cell_rows
        found = target.truth if self._kind == "truth" else target.assumed
        assert isinstance(found, Positive)
        return fold(quadrature, geometry.energies, exact_cross_section(found, quadrature))

    def _scale(self, target: Target) -> float:
        """Return the near rate of nature over that of the cross section.

        Of a lepton whose near data were not counted it is that of its family.
        """
        if self._kind == "truth":
            return 1.0
        if target.name not in self._scales:
            geometry = self.experiment.geometry(target)
            if self.learned is None:
                rows = self._fold(target, geometry, geometry.totals)
                total = rows.sum(axis=1) * geometry.energies.weights
                near = geometry.true_total @ target.near_flux
                self._scales[target.name] = float(near / (total @ target.near_flux))
            else:
                self._scales[target.name] = self._learned_scale(geometry, self._of(target))
        return self._scales[target.name]

    def _learned_scale(self, geometry: Geometry, own: LearnedTarget) -> float:
        known, counted = self._known(geometry, own)
        return _near_scale(known, counted) * own.rate / counted.rate

    def _known(self, geometry: Geometry, own: LearnedTarget) -> tuple[Geometry, LearnedTarget]:
        """Return by whose near rate the size of a cross section is known: that of most events."""
        family = [pair for pair in self._counted if pair[1].family == own.family]
        if own.rates != "family" or not family:
            return geometry, own
        return max(family, key=lambda pair: pair[1].rate)


def _near_scale(geometry: Geometry, own: LearnedTarget) -> float:
    """Return the near rate of nature over that of a learned cross section."""
    near = geometry.true_total @ geometry.target.near_flux
    total = geometry.total_operator.response(own.mean, clamp=True).sum(axis=1)
    return float(near / (total * geometry.energies.weights @ geometry.target.near_flux))


def near_rates(geometry: Geometry, values: Float) -> Float:
    """Return near rates of sets of node values, (sets,)."""
    totals = responses(geometry.total_operator, values).sum(axis=2)
    return np.asarray(totals @ (geometry.energies.weights * geometry.target.near_flux))


def _quadrature(geometry: Geometry, response: LeptonResponse) -> Quadrature:
    points = response.points
    if points is geometry.cells:
        return geometry.cell_quadrature
    return geometry.rows(points.lepton_energy, points.z)
