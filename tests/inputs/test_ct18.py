"""The CT18NNLO input parametrisation and the table made from it."""

from __future__ import annotations

import importlib.resources

import numpy as np
import pytest
from scipy.integrate import quad

from bayesxs.inputs import ct18
from bayesxs.inputs.pdf import load_lhapdf_grid


@pytest.fixture(scope="module")
def start():
    return ct18.ct18_input()


@pytest.fixture(scope="module")
def committed():
    resource = importlib.resources.files("bayesxs.data") / "ct18nnlo.npz"
    with resource.open("rb") as stream, np.load(stream, allow_pickle=False) as table:
        return dict(table)


def momentum(start, x):
    return (
        start.uv(x)
        + start.dv(x)
        + start.gluon(x)
        + 2 * (start.ubar(x) + start.dbar(x) + start.strange(x))
    )


def test_sum_rules_hold_exactly(start):
    # Adaptive quadrature in x = w^4, independent of the module's own.
    def integral(f):
        return quad(lambda w: 4 * w**3 * float(f(np.array(w**4))), 0, 1, epsabs=1e-11)[0]

    assert integral(lambda x: start.uv(x) / x) == pytest.approx(2, abs=1e-9)
    assert integral(lambda x: start.dv(x) / x) == pytest.approx(1, abs=1e-9)
    assert integral(lambda x: momentum(start, x)) == pytest.approx(1, abs=1e-9)


def test_published_coefficients_obey_the_sum_rules_to_their_digits():
    # The coefficients carry three or four digits (arXiv:1912.10053, App. C).
    up = ct18.moment(lambda x: ct18.valence(x, ct18.UV), 0)
    down = ct18.moment(lambda x: ct18.valence(x, ct18.DV), 0)
    assert up == pytest.approx(2, rel=3e-3)
    assert down == pytest.approx(1, rel=3e-3)


def test_bernstein_polynomials_add_up_to_one():
    y = np.linspace(0, 1, 11)
    np.testing.assert_allclose(ct18.bernstein(y, (1.0,) * 6), 1.0, rtol=1e-14)
    np.testing.assert_allclose(ct18.bernstein(y, (0.0, 0.5, 1.0)), y, atol=1e-15)


def test_input_against_the_official_grid(start, reference):
    pdf = load_lhapdf_grid(reference / "pdfsets" / "CT18NNLO")
    x = np.geomspace(1e-6, 0.7, 60)
    knots = pdf.x_axis.knots
    x = knots[np.unique(np.searchsorted(knots, x[x < 0.7]))]
    expected = np.asarray(pdf.xf(x, pdf.q2_min, (2, 1, 21, -2, -1, -3)))
    found = [
        start.uv(x) + start.ubar(x),
        start.dv(x) + start.dbar(x),
        start.gluon(x),
        start.ubar(x),
        start.dbar(x),
        start.strange(x),
    ]
    np.testing.assert_allclose(np.stack(found, axis=-1), expected, rtol=2.5e-3, atol=1e-7)


def test_knots_are_those_of_the_official_set(reference):
    pdf = load_lhapdf_grid(reference / "pdfsets" / "CT18NNLO")
    below, above = ct18.q_knots()
    np.testing.assert_allclose(ct18.x_knots(), pdf.x_axis.knots, rtol=1e-5)
    q = np.concatenate([below, above[1:]])
    np.testing.assert_allclose(q**2, pdf.q2_axis.knots, rtol=1e-5)


def test_committed_table_is_small_and_says_what_it_is(committed):
    resource = importlib.resources.files("bayesxs.data") / "ct18nnlo.npz"
    assert len(resource.read_bytes()) < 300_000
    assert int(committed["data_version"]) == ct18.DATA_VERSION
    assert str(committed["source"]) == ct18.SOURCE
    assert committed["q2"][0] == pytest.approx(ct18.Q0**2)


def test_bottom_vanishes_below_its_threshold_and_only_there(committed):
    bottom = committed["xf"][..., list(committed["flavors"]).index(-5)]
    threshold = np.searchsorted(committed["q2"], ct18.BOTTOM_MASS**2, side="left")
    assert np.all(bottom[:, : threshold + 1] == 0)
    assert np.all(bottom[:-1, threshold + 2 :].max(axis=0) > 0)
