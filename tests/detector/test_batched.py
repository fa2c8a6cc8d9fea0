"""Sets folded together are what each of them is alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from bayesxs.constants import MUON_MASS
from bayesxs.detector import batched
from bayesxs.detector.batched import negative_shares, responses
from bayesxs.detector.grid import energy_grid, lepton_grid, node_grid
from bayesxs.detector.operator import Operator, build_operator, row_quadrature, total_quadrature
from bayesxs.detector.spectrum import Spectrum

ENERGIES = energy_grid(np.arange(0.5, 5.1, 0.5), 0.5, 5.0, order=3)
NODES = node_grid(5.0, 12, 12, MUON_MASS)
BINS = lepton_grid(5.0, 8, 6, MUON_MASS)


@pytest.fixture(scope="module")
def operator() -> Operator:
    return build_operator(row_quadrature(*BINS.rows, ENERGIES, MUON_MASS), ENERGIES, NODES)


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(5, NODES.size, 3))


def test_sets_together_are_folded_as_each_alone(operator, values, monkeypatch) -> None:
    """Also in pieces, of points and of sets."""
    expected = np.stack([operator.response(own) for own in values])
    np.testing.assert_allclose(responses(operator, values), expected, rtol=1e-9, atol=1e-12)
    monkeypatch.setattr(batched, "_SIZE", 48 * 700)
    monkeypatch.setattr(batched, "_ROWS", 2 * operator.n_rows * len(ENERGIES.points))
    np.testing.assert_allclose(responses(operator, values), expected, rtol=1e-9, atol=1e-12)


def test_rows_are_summed(operator, values) -> None:
    """With factors; a row that counts nowhere has none."""
    rng = np.random.default_rng(1)
    place = rng.integers(0, 7, operator.n_rows - 3)
    entries = (rng.uniform(size=len(place)), (place, np.arange(len(place))))
    summed = sparse.csr_array(entries, (7, operator.n_rows))
    expected = np.stack([summed @ operator.response(own) for own in values])
    found = responses(operator, values, summed)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["centers", "events", "sums", "migration"])
def test_spectra_fold_many_as_one(kind, values) -> None:
    rows = row_quadrature(*BINS.rows, ENERGIES, MUON_MASS)
    areas = None if kind == "events" else BINS.areas
    rng = np.random.default_rng(2)
    response = {
        "sums": sparse.csr_array(np.kron(np.eye(12), np.ones((1, 4)))),
        "migration": rng.uniform(size=(9, len(BINS.areas))),
    }.get(kind)
    totals = total_quadrature(ENERGIES, MUON_MASS) if kind == "events" else None
    spectrum = Spectrum(rows, ENERGIES, NODES, areas, response, totals)
    for own, found in zip(values, spectrum.of_many(values), strict=True):
        alone = spectrum.of_values(own)
        np.testing.assert_allclose(found.rows, alone.rows, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found.total, alone.total, rtol=1e-9, atol=1e-12)
    assert spectrum.of_many(values[:0]) == []


def test_negative_shares(operator, values) -> None:
    weights = np.random.default_rng(3).uniform(size=len(operator.row))
    expected = []
    for own in values:
        rate = weights * operator.cross_section(own)
        expected.append(-np.minimum(rate, 0.0).sum() / np.abs(rate).sum())
    np.testing.assert_allclose(negative_shares(operator, values, weights), expected, rtol=1e-9)
