"""Spectra: rows that any cross section is folded with, events, bins, or reconstructed bins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from bayesxs.detector.batched import responses
from bayesxs.detector.density import FoldedRows
from bayesxs.detector.exact import exact_response
from bayesxs.detector.grid import EnergyGrid, NodeGrid
from bayesxs.detector.operator import Operator, Quadrature, build_operator
from bayesxs.physics.structure_functions import StructureFunctions
from bayesxs.types import Floats

# Sets of structure functions whose rows are held at once before a detector's response
MANY: Final = 8


@dataclass(frozen=True)
class Spectrum:
    """Rows of a spectrum and how they are normalised.

    Attributes:
        quadrature: integrates each row over neutrino energy.
        energies: shared energies.
        nodes: the (x, Q^2) nodes.
        areas: area dE_l dz of each row's bin in GeV; None for unbinned events.
        response: reconstructed bins from the rows times their areas, shape (bins, rows); None where
            rows are seen as they are.
        totals: integrates over all lepton kinematics, to normalise unbinned events; bins are
            normalised by their own sum.
    """

    quadrature: Quadrature
    energies: EnergyGrid
    nodes: NodeGrid
    areas: Floats | None = None
    response: Floats | sparse.csr_array | None = None
    totals: Quadrature | None = None

    @cached_property
    def operator(self) -> Operator:
        """Operator of the rows."""
        return build_operator(self.quadrature, self.energies, self.nodes)

    @cached_property
    def _total_operator(self) -> Operator | None:
        if self.totals is None:
            return None
        return build_operator(self.totals, self.energies, self.nodes)

    def of_function(self, sf: StructureFunctions) -> FoldedRows:
        """Fold structure functions evaluated at every point, without nodes."""
        total = None
        if self.totals is not None:
            total = exact_response(sf, self.totals, self.energies)
        return self.of_rows(exact_response(sf, self.quadrature, self.energies), total)

    def of_values(self, values: ArrayLike, *, clamp: bool = False) -> FoldedRows:
        """Fold structure functions given on the nodes.

        Args:
            values: Bernstein coefficients, shape (n_nodes, 3).
            clamp: replace a negative cross section by zero, as arXiv:2412.16303 does.
        """
        operator = self._total_operator
        total = None if operator is None else operator.response(values, clamp=clamp)
        return self.of_rows(self.operator.response(values, clamp=clamp), total)

    def of_many(self, values: ArrayLike) -> list[FoldedRows]:
        """Fold many sets of structure functions given on the nodes, as `of_values` each.

        Args:
            values: Bernstein coefficients, shape (sets, n_nodes, 3).
        """
        table = np.asarray(values)
        if not len(table):
            return []
        if self.response is not None:
            return [FoldedRows(rows, rows.sum(axis=0)) for rows in self._reconstructed(table)]
        rows = responses(self.operator, table)
        operator = self._total_operator
        if operator is None:
            return [self.of_rows(own) for own in rows]
        totals = responses(operator, table)
        return [self.of_rows(own, total) for own, total in zip(rows, totals, strict=True)]

    def _reconstructed(self, table: Floats) -> Iterator[Floats]:
        """Yield the bins of each set, shape (bins, E)."""
        areas = np.asarray(self.areas)
        if sparse.issparse(self.response):
            summed = sparse.csr_array(self.response @ sparse.diags_array(areas))
            if np.diff(summed.tocsc().indptr).max() <= 1:
                yield from responses(self.operator, table, summed)
                return
        for start in range(0, len(table), MANY):  # true rows are many
            for rows in responses(self.operator, table[start : start + MANY]):
                yield np.asarray(self.response @ (areas[:, None] * rows))

    def of_rows(self, rows: Floats, total: Floats | None = None) -> FoldedRows:
        """Bin and normalise a cross section that was folded with the rows already.

        Args:
            rows: shape (rows, E), in 1e-38 cm^2.
            total: the same for `totals`; bins are normalised by their own sum.
        """
        if self.response is not None:
            rows = np.asarray(self.response @ (np.asarray(self.areas)[:, None] * rows))
            return FoldedRows(rows, rows.sum(axis=0))
        if total is not None:
            return FoldedRows(rows, total.sum(axis=1) * self.energies.weights)
        return FoldedRows(rows, np.asarray(self.areas) @ rows)

    def matrices(self, fluxes: Sequence[ArrayLike]) -> list[sparse.csr_array]:
        """Return `matrix` of each of several fluxes."""
        return [self.matrix(flux) for flux in fluxes]

    def matrix(self, flux: ArrayLike) -> sparse.csr_array:
        """Contract the energies with a flux: bins from values on the nodes, (bins, 3 n_nodes)."""
        matrix = self.operator.near_matrix(flux)
        if self.response is None:
            return matrix
        areas = sparse.diags_array(np.asarray(self.areas))
        return sparse.csr_array(self.response @ (areas @ matrix).toarray())
