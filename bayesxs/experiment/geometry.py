"""Bins, nodes, quadratures and operators of a cross section; the costly parts on demand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from bayesxs.detector.bins import points_of_bins, sum_of_points
from bayesxs.detector.density import FoldedRows, Sample
from bayesxs.detector.exact import exact_cross_section
from bayesxs.detector.grid import EnergyGrid, LeptonGrid, NodeGrid, lepton_grid, node_grid
from bayesxs.detector.operator import (
    Operator,
    Quadrature,
    build_operator,
    fold,
    row_quadrature,
    total_quadrature,
)
from bayesxs.detector.reco import RecoGrid, TrueCells, cell_grid, reco_grid, true_cells
from bayesxs.detector.smearing import Acceptance, response_matrix
from bayesxs.detector.spectrum import Spectrum
from bayesxs.detector.template import Template
from bayesxs.experiment.generated import Split
from bayesxs.experiment.settings import GaussianDetector, Grid
from bayesxs.physics.kinematics import NUCLEON, PhaseSpace
from bayesxs.physics.structure_functions import Positive, StructureFunctions
from bayesxs.types import Floats as Float

# Bins in each direction of spectra that are integrated rather than looked at: their edge effects
# stay below 1 % of a bin of the predictive spectra
FINE_BINS = 160

# True cells in (ln E_l, angle) that detector response is applied to: at DUNE's resolutions they add
# less than 0.01 to the chi-square of 6200 events
CELLS = (140, 80)


@dataclass(frozen=True)
class Target:
    """The subject of one network: the cross section of neutrinos that make one kind of lepton."""

    sample: Sample  # the near-detector sample that it is learned from
    truth: Positive | Template
    near_flux: Float  # at the shared energies
    assumed: Positive | Template | None = None  # what an analyst would take instead of learning
    split: Split | None = None  # a generator's events, of which nature is made

    @property
    def name(self) -> str:
        """Short name used in files: "mu", "anti_mu", "e", ..."""
        return ("anti_" if self.sample.antineutrino else "") + self.sample.flavor_out

    @property
    def templated(self) -> bool:
        """Whether a cross section is a generator's template, which knows integrals only."""
        return isinstance(self.truth, Template) or isinstance(self.assumed, Template)


class Geometry:
    """The grids of one target, and what folds its cross section."""

    def __init__(
        self,
        grid: Grid,
        detector: GaussianDetector | None,
        energies: EnergyGrid,
        target: Target,
        space: PhaseSpace = NUCLEON,
    ) -> None:
        """Lay out the grids."""
        high, mass = float(energies.edges[-1]), target.sample.lepton_mass
        self.energies = energies
        self._far_bins = grid.far_bins
        self.target = target
        self.lepton_mass = mass
        self.space = space
        self.bins: LeptonGrid = lepton_grid(high, grid.lepton_energies, grid.z, mass, space)
        self.nodes: NodeGrid = node_grid(high, grid.nodes_x, grid.nodes_q2, mass, space=space)
        self.response = None if detector is None else DetectorResponse(detector, self)

    @cached_property
    def quadrature(self) -> Quadrature:
        """Quadrature of the bin centers."""
        return self.rows(*self.bins.rows)

    def rows(self, lepton_energy: Float, z: Float) -> Quadrature:
        """Return the quadrature over neutrino energy at given lepton energies (GeV) and z."""
        return row_quadrature(lepton_energy, z, self.energies, self.lepton_mass, space=self.space)

    @cached_property
    def spectrum(self) -> Spectrum:
        """Bins in true lepton energy and z, normalised by their own sum."""
        return Spectrum(self.quadrature, self.energies, self.nodes, self.bins.areas)

    @property
    def operator(self) -> Operator:
        """Operator of the bin centers."""
        return self.spectrum.operator

    @property
    def integrated(self) -> bool:
        """Whether bins as seen are integrals: reconstructed ones, or those of a template."""
        return self.response is not None or self.target.templated

    @cached_property
    def seen(self) -> Spectrum:
        """Bins as the far detector sees them: of true energies and angles, or reconstructed."""
        return self.binned if self.integrated else self.spectrum

    @cached_property
    def cells(self) -> TrueCells:
        """Cells in true lepton energy and angle."""
        return true_cells(float(self.energies.edges[-1]), *CELLS, self.lepton_mass)

    @cached_property
    def cell_quadrature(self) -> Quadrature:
        """Quadrature of the cells."""
        return self.rows(self.cells.lepton_energy, self.cells.z)

    @cached_property
    def true_cell_rows(self) -> Float:
        """True cross section in the cells, shape (cells, E)."""
        value = exact_cross_section(self.true_functions, self.cell_quadrature)
        return fold(self.cell_quadrature, self.energies, value)

    @property
    def true_functions(self) -> Positive:
        """The true structure functions.

        Raises:
            ValueError: a template has none.
        """
        if isinstance(self.target.truth, Template):
            raise ValueError("a generator's template has no structure functions")
        return self.target.truth

    @cached_property
    def grid(self) -> RecoGrid:
        """Bins in lepton energy and angle, finer where the near detector has its events.

        Where there is response they are those of reconstructed quantities.
        """
        truth = self.target.truth
        if isinstance(truth, Template):
            leptons = truth.lepton_energy, truth.theta, truth.rate
        else:
            cells = self.cells
            rates = cells.areas * (self.true_cell_rows @ self.target.near_flux)
            leptons = cells.lepton_energy, cells.theta, rates
        return reco_grid(
            *leptons,
            *(self._far_bins if self.response is None else self.response.bins),
            self.lepton_mass,
            float(self.energies.edges[-1]),
        )

    @cached_property
    def binned(self) -> Spectrum:
        """Bins of `grid` with what falls into each: data too many to be taken event by event."""
        if self.response is not None:
            return self.response.spectrum
        points = points_of_bins(self.grid, self.lepton_mass)
        quadrature = self.rows(points.lepton_energy, points.z)
        summed = sum_of_points(self.grid)
        return Spectrum(quadrature, self.energies, self.nodes, points.areas, summed)

    @property
    def seen_axes(self) -> dict[str, Float]:
        """Edges of the bins as seen, by the name of the axis in files."""
        if not self.integrated:
            return {"lepton_energy_GeV": self.bins.energy_edges, "z": self.bins.z_edges}
        grid = self.grid
        return {"lepton_energy_GeV": grid.energy_edges, "angle_rad": grid.angle_edges}

    def seen_rows(self, axis: int) -> tuple[Float, Float, Float]:
        """Return the edges of an axis, each seen bin's center along it, and areas to sum with."""
        if not self.integrated:
            edges = (self.bins.energy_edges, self.bins.z_edges)[axis]
            return edges, self.bins.rows[axis], self.bins.areas
        grid = self.grid
        mesh = np.meshgrid(grid.energy_centers, grid.angle_centers, indexing="ij")
        edges = (grid.energy_edges, grid.angle_edges)[axis]
        return edges, mesh[axis].ravel(), np.ones(grid.size)

    @property
    def seen_sizes(self) -> Float:
        """What makes shares of events of the rows of bins as seen: densities times sizes."""
        return np.ones(self.grid.size) if self.integrated else self.bins.sizes

    @cached_property
    def totals(self) -> Quadrature:
        """Quadrature of the total cross section at the shared energies."""
        return total_quadrature(self.energies, self.lepton_mass, space=self.space)

    @cached_property
    def total_operator(self) -> Operator:
        """Operator of the total cross section."""
        return build_operator(self.totals, self.energies, self.nodes)

    @cached_property
    def true_cross_section(self) -> Float:
        """True d2s/dE_l dz at the quadrature points of the bins."""
        return exact_cross_section(self.true_functions, self.quadrature)

    @cached_property
    def true_total(self) -> Float:
        """True v[E]: total cross section times quadrature weight."""
        truth = self.target.truth
        return truth.total(self.energies) if isinstance(truth, Template) else self.total_of(truth)

    def total_of(self, sf: StructureFunctions) -> Float:
        """Return v[E] of structure functions: total cross section times quadrature weight."""
        value = exact_cross_section(sf, self.totals)
        return fold(self.totals, self.energies, value).sum(axis=1) * self.energies.weights

    def projected_share(self, sf: Positive) -> float:
        """Return the part of the near rate that projecting structure functions on the cone adds."""
        flux = self.target.near_flux
        projected = self.true_total if sf is self.target.truth else self.total_of(sf)
        return float(1.0 - (self.total_of(sf.original) @ flux) / (projected @ flux))

    @cached_property
    def true_bins(self) -> FoldedRows:
        """True response of the bin centers."""
        rows = fold(self.quadrature, self.energies, self.true_cross_section)
        return FoldedRows(rows, self.true_total)

    @cached_property
    def seen_truth(self) -> FoldedRows:
        """True response of the bins as seen, normalised by their own sum."""
        truth = self.target.truth
        if isinstance(truth, Template):
            return self.of_template(truth)
        if self.response is None and self.integrated:
            return self.seen.of_function(truth)
        rows = self.true_bins.rows if self.response is None else self.true_cell_rows
        return self.seen.of_rows(rows)

    def of_template(self, template: Template) -> FoldedRows:
        """Return a generator's own response of the bins as seen."""
        if self.response is None:
            return template.folded(self.places(template), self.grid.size, self.energies)
        cells = cell_grid(float(self.energies.edges[-1]), *CELLS, self.lepton_mass)
        row = cells.index(template.lepton_energy, template.theta)
        rows = template.folded(row, cells.size, self.energies).rows
        return self.seen.of_rows(rows / self.cells.areas[:, None])

    def places(self, template: Template) -> NDArray[np.intp]:
        """Return the bin of `grid` that each event of a template lies in; below zero for none."""
        mass = np.nextafter(self.lepton_mass, np.inf)  # that of a generator may be smaller
        return self.grid.index(np.maximum(template.lepton_energy, mass), template.theta)

    @cached_property
    def fine_bins(self) -> LeptonGrid:
        """Bins fine enough to be summed to spectra; a bin's center stands for the whole bin."""
        high = float(self.energies.edges[-1])
        return lepton_grid(high, FINE_BINS, FINE_BINS, self.lepton_mass, self.space)

    def events(self, lepton_energy: Float, z: Float) -> Spectrum:
        """Return the spectrum whose rows are unbinned events (GeV, 1)."""
        quadrature = self.rows(lepton_energy, z)
        return Spectrum(quadrature, self.energies, self.nodes, totals=self.totals)

    def node_values(self, sf: StructureFunctions) -> Float:
        """Evaluate structure functions on the nodes, shape (n_nodes, 3)."""
        return np.asarray(sf(jnp.asarray(self.nodes.x), jnp.asarray(self.nodes.q2)), dtype=float)

    @cached_property
    def true_node_values(self) -> Float:
        """True structure functions on the nodes, shape (n_nodes, 3); NaN where they are none."""
        return np.asarray(jax.jit(self.true_functions)(self.nodes.x, self.nodes.q2), dtype=float)

    def learned_bins(self, values: Float) -> FoldedRows:
        """Folded rows of the bin centers for structure functions on the nodes.

        Negative cross sections count as zero: those of the unconstrained head, as in
        arXiv:2412.16303, and with any head what interpolation between nodes makes of a zero.
        """
        total = self.total_operator.response(values, clamp=True).sum(axis=1)
        return FoldedRows(self.operator.response(values, clamp=True), total * self.energies.weights)


class DetectorResponse:
    """Resolutions applied to the geometry of one target."""

    def __init__(self, detector: GaussianDetector, geometry: Geometry) -> None:
        """Hold the parameters; bins and matrices are built on demand."""
        self._geometry = geometry
        self.correlated = detector.correlated
        self.bins = detector.bins
        self.parameters = detector.resolutions
        self.sds = detector.sds
        self.acceptance = detector.acceptance

    @cached_property
    def spectrum(self) -> Spectrum:
        """Reconstructed bins at the nominal response."""
        return self.spectrum_in(self._geometry.grid)

    def spectrum_in(self, grid: RecoGrid, summed: sparse.csr_array | None = None) -> Spectrum:
        """Return the spectrum in other reconstructed bins, or in sums of them.

        Args:
            grid: the bins.
            summed: sums them, shape (sums, bins); None for the bins themselves.
        """
        g = self._geometry
        matrix = response_matrix(self.parameters, *self.arguments(grid))
        if summed is not None:
            matrix = summed @ matrix
        return Spectrum(g.cell_quadrature, g.energies, g.nodes, g.cells.areas, matrix)

    def arguments(
        self, grid: RecoGrid | None = None
    ) -> tuple[Float, Float, RecoGrid, Acceptance, float]:
        """Return what the functions of `detector.smearing` take after parameters and rows."""
        g = self._geometry
        bins = g.grid if grid is None else grid
        return g.cells.lepton_energy, g.cells.theta, bins, self.acceptance, g.lepton_mass
