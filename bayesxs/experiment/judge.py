"""How well a learned cross section does: against the true one, or against near-detector counts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bayesxs.detector.operator import fold
from bayesxs.experiment.geometry import Geometry
from bayesxs.experiment.near import NearDetector
from bayesxs.inference.goodness import chi_square
from bayesxs.types import Floats as Float


class FitJudge:
    """Compare a learned cross section with the near-detector counts that it is learned from."""

    def __init__(self, near: NearDetector) -> None:
        """Hold the counts."""
        self.near = near
        self.geometry = near.geometry

    def errors(self, values: Float) -> dict[str, float]:
        """Return chi^2 per bin.

        Args:
            values: structure functions on the nodes, shape (n_nodes, 3).
        """
        fit = chi_square(self.near.observed, self.near.matrix @ values.ravel())
        return {"near_chi2_per_bin": fit.chi2 / fit.bins}


class Judge:
    """Compare a learned cross section with the true one, near, far and in three dimensions."""

    def __init__(self, geometry: Geometry, fluxes: Mapping[str, Float]) -> None:
        """Fold the truth once.

        Args:
            geometry: of the target.
            fluxes: what to compare densities under, at the shared energies, by name.
        """
        self.geometry = geometry
        self.fluxes = fluxes
        sizes, quadrature = geometry.bins.sizes, geometry.quadrature
        self.sizes = sizes
        self.weights = sizes[quadrature.row] * quadrature.weights
        rows = self.geometry.true_bins.rows
        self.true_spectra = {k: self._unit(rows @ f) for k, f in fluxes.items()}
        self.true_3d = self._normalized(self.geometry.true_cross_section)

    def _normalized(self, cross_section: Float) -> Float:
        return cross_section / (self.weights @ cross_section)

    def _norm(self, density: Float) -> float:
        """Return the root of the integral of a squared density, up to a factor."""
        return float(np.linalg.norm(np.sqrt(self.sizes) * density))

    def _unit(self, spectrum: Float) -> Float:
        return spectrum / np.sum(self.sizes * spectrum)

    def errors(self, values: Float) -> dict[str, float]:
        """Return relative L2 errors of the normalised densities, in two and three dimensions.

        Structure functions are given on the nodes, shape (n_nodes, 3).

        The latter is the test loss of arXiv:2412.16303, Eqs. 7-8, as a norm relative to the
        truth's.
        """
        cross_section = self.geometry.operator.cross_section(values)
        model_3d = self._normalized(cross_section)
        response = fold(self.geometry.quadrature, self.geometry.energies, cross_section)
        errors = {}
        for name, flux in self.fluxes.items():
            true = self.true_spectra[name]
            difference = self._unit(response @ flux) - true
            errors[f"{name}_rel_l2"] = self._norm(difference) / self._norm(true)
        squared = self.weights @ (model_3d - self.true_3d) ** 2
        return errors | {
            "cross_section_3d_rel_l2": float(np.sqrt(squared / (self.weights @ self.true_3d**2))),
            "negative_fraction": float(np.mean(model_3d < 0.0)),
        }
