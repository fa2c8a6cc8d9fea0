"""The Les Houches benchmark: its input, the table made from it, and its published evolution."""

from __future__ import annotations

import importlib.resources

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import beta

from bayesxs.inputs import les_houches
from bayesxs.inputs.pdf import embedded_ct18nnlo, embedded_les_houches

# hep-ph/0204316, Table 2, top: the input at Q^2 = 2 GeV^2
INPUT_X = np.array([1e-7, 1e-4, 1e-2, 0.1, 0.5, 0.9])
INPUT = {
    "uv": [1.2829e-5, 3.2215e-3, 1.2448e-1, 5.9008e-1, 3.6666e-1, 4.6944e-3],
    "dv": [7.6972e-6, 1.9327e-3, 7.3939e-2, 3.1864e-1, 1.1000e-1, 2.8166e-4],
    "dbar - ubar": [9.7224e-8, 4.8698e-5, 2.8946e-3, 1.2979e-2, 1.6243e-3, 1.7644e-7],
    "2(ubar + dbar)": [3.8890, 1.9478, 1.1520, 4.9319e-1, 9.7458e-3, 4.3129e-7],
    "s + sbar": [7.7779e-1, 3.8957e-1, 2.3041e-1, 9.8638e-2, 1.9492e-3, 8.6259e-8],
    "g": [8.5202, 4.2681, 2.5623, 1.2638, 5.6938e-2, 1.7180e-5],
}
# hep-ph/0511119, Table 15, top: NNLO, variable flavors, Q^2 = 1e4 GeV^2, mu_r = mu_f
EVOLVED_X = np.array([1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.3, 0.5, 0.7, 0.9])
EVOLVED = {
    "uv": [
        *(3.1907e-3, 1.4023e-2, 6.0019e-2, 2.3244e-1),
        *(5.4993e-1, 3.4622e-1, 1.1868e-1, 1.9486e-2, 3.3522e-4),
    ],
    "dv": [
        *(1.9532e-3, 8.2749e-3, 3.4519e-2, 1.3000e-1),
        *(2.7035e-1, 1.2833e-1, 3.0811e-2, 2.9901e-3, 1.6933e-5),
    ],
    "2(ubar + dbar)": [
        *(3.4732e1, 1.5617e1, 6.4173, 2.2778),
        *(3.8526e-1, 3.4600e-2, 2.3198e-3, 5.2352e-5, 2.574e-8),
    ],
    "g": [
        *(2.2012e2, 8.8804e1, 3.0404e1, 7.7912),
        *(8.5266e-1, 7.8898e-2, 7.6398e-3, 3.7080e-4, 1.1721e-6),
    ],
}
EVOLVED_HEAVY = {  # up to x = 0.3
    "s + sbar": [1.6690e1, 7.2747, 2.7954, 8.5749e-1, 1.1230e-1, 8.8410e-3],
    "c + cbar": [1.5875e1, 6.7244, 2.4494, 6.6746e-1, 6.4466e-2, 4.0134e-3],
    "b + bbar": [1.2896e1, 5.2597, 1.8139, 4.5073e-1, 3.7280e-2, 2.1047e-3],
}


@pytest.fixture(scope="module")
def start():
    return les_houches.les_houches_input()


@pytest.fixture(scope="module")
def pdf():
    return embedded_les_houches()


@pytest.fixture(scope="module")
def committed():
    resource = importlib.resources.files("bayesxs.data") / "les_houches.npz"
    with resource.open("rb") as stream, np.load(stream, allow_pickle=False) as table:
        return dict(table)


def combinations(pdf, x, q2):
    """Return the combinations that the published tables print."""
    columns = np.moveaxis(np.asarray(pdf.xf(x, q2, pdf.flavors)), -1, 0)
    f = dict(zip(pdf.flavors, columns, strict=True))
    return {
        "uv": f[2] - f[-2],
        "dv": f[1] - f[-1],
        "dbar - ubar": f[-1] - f[-2],
        "2(ubar + dbar)": 2 * (f[-2] + f[-1]),
        "s + sbar": f[3] + f[-3],
        "c + cbar": f[4] + f[-4],
        "b + bbar": f[5] + f[-5],
        "g": f[21],
    }


def test_input_obeys_the_sum_rules(start):
    def integral(f):  # x = w^4 tames the powers at x = 0
        return quad(lambda w: 4 * w**3 * float(f(np.array(w**4))), 0, 1, epsabs=1e-11)[0]

    def momentum(x):
        sea = start.ubar(x) + start.dbar(x) + start.strange(x)
        return start.uv(x) + start.dv(x) + start.gluon(x) + 2 * sea

    assert integral(lambda x: start.uv(x) / x) == pytest.approx(2, abs=1e-9)
    assert integral(lambda x: start.dv(x) / x) == pytest.approx(1, abs=1e-9)
    assert integral(momentum) == pytest.approx(1, abs=3e-8)
    # In closed form
    assert 5.1072 * beta(0.8, 4) == pytest.approx(2, rel=1e-12)
    assert 3.06432 * beta(0.8, 5) == pytest.approx(1, rel=1e-12)


def test_input_is_the_published_one(start):
    x = INPUT_X
    found = {
        "uv": start.uv(x),
        "dv": start.dv(x),
        "dbar - ubar": start.dbar(x) - start.ubar(x),
        "2(ubar + dbar)": 2 * (start.ubar(x) + start.dbar(x)),
        "s + sbar": 2 * start.strange(x),
        "g": start.gluon(x),
    }
    for name, expected in INPUT.items():
        np.testing.assert_allclose(found[name], expected, rtol=5e-5, err_msg=name)


def test_table_starts_from_the_input(pdf, start):
    x = pdf.x_axis.knots[20:-1]
    found = combinations(pdf, x, pdf.q2_min)
    np.testing.assert_allclose(found["uv"], start.uv(x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["dv"], start.dv(x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["g"], start.gluon(x), rtol=1e-6)
    np.testing.assert_allclose(found["s + sbar"], 2 * start.strange(x), rtol=1e-6)
    assert np.all(found["c + cbar"] == 0)


@pytest.mark.parametrize("name", EVOLVED)
def test_evolution_is_the_published_one(pdf, name):
    found = combinations(pdf, EVOLVED_X, 1e4)[name]
    np.testing.assert_allclose(found, EVOLVED[name], rtol=5e-4)


@pytest.mark.parametrize("name", EVOLVED_HEAVY)
def test_evolution_of_heavy_flavors(pdf, name):
    # Each equals twice its antiquark in the table; NNLO makes quark and antiquark differ a little.
    found = combinations(pdf, EVOLVED_X[:6], 1e4)[name]
    np.testing.assert_allclose(found, EVOLVED_HEAVY[name], rtol=1e-2)


@pytest.mark.parametrize("q", [1.4143, 2.0, 4.4, 4.6, 30.0, 9e3])
def test_sum_rules_of_the_table(pdf, q):
    nodes, weights = np.polynomial.legendre.leggauss(16)
    edges = np.log(pdf.x_axis.knots)
    half = np.diff(edges) / 2
    x = np.exp((edges[1:] + edges[:-1])[:, None] / 2 + half[:, None] * nodes)
    measure = half[:, None] * weights
    found = combinations(pdf, x, q * q)
    pairs = ("2(ubar + dbar)", "s + sbar", "c + cbar", "b + bbar")
    momentum = found["uv"] + found["dv"] + found["g"] + sum(found[name] for name in pairs)
    assert np.sum(measure * found["uv"]) == pytest.approx(2, abs=2e-4)
    assert np.sum(measure * found["dv"]) == pytest.approx(1, abs=1e-4)
    # s, c, b equal to their antiquarks costs 2e-4 of momentum
    assert np.sum(measure * momentum * x) == pytest.approx(1, abs=3e-4)


def test_bottom_vanishes_below_its_threshold_and_charm_at_the_start(committed):
    stored = list(committed["flavors"])
    bottom, charm = (committed["xf"][..., stored.index(pid)] for pid in (-5, -4))
    threshold = np.searchsorted(committed["q2"], les_houches.BOTTOM_MASS**2, side="left")
    assert np.all(bottom[:, : threshold + 1] == 0)
    assert np.all(bottom[:-1, threshold + 2 :].max(axis=0) > 0)
    assert np.all(charm[:, 0] == 0)
    assert np.all(charm[:-1, 1:].max(axis=0) > 0)


def test_table_is_small_and_says_what_it_is(committed):
    resource = importlib.resources.files("bayesxs.data") / "les_houches.npz"
    assert len(resource.read_bytes()) < 300_000
    assert int(committed["data_version"]) == les_houches.DATA_VERSION
    assert str(committed["source"]) == les_houches.SOURCE
    assert committed["q2"][0] == pytest.approx(2.0, rel=1e-12)


def test_continues_below_its_lowest_scale(pdf):
    # LHAPDF's continuation: it joins the table, and vanishes with Q^2
    x = np.geomspace(1e-3, 0.9, 30)
    below, above = (pdf.xf(x, pdf.q2_min * (1 + s), (1, 2, -1, -2, 21)) for s in (-1e-12, 1e-12))
    np.testing.assert_allclose(below, above, rtol=1e-9)
    assert np.all(np.abs(pdf.xf(x, 1e-6, (1, 2, -1, -2, 21))) < 1e-4)


def test_differs_from_ct18_by_what_pdf_sets_differ(pdf):
    x, light = np.geomspace(0.01, 0.5, 20)[:, None], (1, 2, -1, -2)
    q2 = np.array([0.5, 2.0, 10.0])
    ratio = np.asarray(pdf.xf(x, q2, light)) / np.asarray(embedded_ct18nnlo().xf(x, q2, light))
    assert np.all((ratio > 0.5) & (ratio < 2))
    assert np.max(np.abs(ratio - 1)) > 0.1
