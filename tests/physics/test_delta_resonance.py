"""The Delta against explicit Rarita-Schwinger spinors, photons and bubble chambers."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesxs.constants import DELTA_MASS, MUON_MASS, NUCLEON_MASS, PION_MASS
from bayesxs.physics.cross_section import total_cross_section
from bayesxs.physics.delta_resonance import THRESHOLD, Delta, breit_wigner
from bayesxs.physics.fermi_motion import FermiSphere
from bayesxs.physics.helicity import Helicity, bernstein_from_helicity

M = NUCLEON_MASS
FINE_STRUCTURE = 1.0 / 137.036
PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
GAMMA = np.zeros((4, 4, 4), complex)
GAMMA[0] = np.diag([1, 1, -1, -1])
for i in range(3):
    GAMMA[i + 1, :2, 2:], GAMMA[i + 1, 2:, :2] = PAULI[i], -PAULI[i]
GAMMA5 = 1j * GAMMA[0] @ GAMMA[1] @ GAMMA[2] @ GAMMA[3]
METRIC = np.diag([1.0, -1.0, -1.0, -1.0])


def dot(a: np.ndarray, b: np.ndarray) -> complex:
    return a @ METRIC @ b


def slash(a: np.ndarray) -> np.ndarray:
    return np.einsum("m,mij->ij", METRIC @ a, GAMMA)


def spinor(p: np.ndarray, mass: float, up: bool) -> np.ndarray:
    chi = np.array([1.0, 0.0]) if up else np.array([0.0, 1.0])
    lower = np.einsum("i,ijk,k->j", p[1:], PAULI, chi) / (p[0] + mass)
    return np.sqrt(p[0] + mass) * np.concatenate([chi, lower])


def delta_spinors(mass: float) -> list[np.ndarray]:
    """Return the four vector-spinors of a Delta at rest, helicity 3/2 down to -3/2."""
    rest = np.array([mass, 0.0, 0.0, 0.0])
    up, down = spinor(rest, mass, True), spinor(rest, mass, False)
    plus = -np.array([0, 1, 1j, 0]) / np.sqrt(2)
    minus = np.array([0, 1, -1j, 0]) / np.sqrt(2)
    zero = np.array([0, 0, 0, 1.0])
    return [
        np.outer(plus, up),
        np.sqrt(1 / 3) * np.outer(plus, down) + np.sqrt(2 / 3) * np.outer(zero, up),
        np.sqrt(1 / 3) * np.outer(minus, up) + np.sqrt(2 / 3) * np.outer(zero, down),
        np.outer(minus, down),
    ]


def explicit_tensor(model: Delta, w: float, q2: float, axial_sign: int) -> np.ndarray:
    """Return half the mean of products of amplitudes along e_+, e_-, (e_L, e_S)."""
    c3v, c4v, c5v, c5a = (float(c) for c in model.form_factors(q2))
    c4a, c6a = -0.25 * c5a, c5a * M**2 / (q2 + PION_MASS**2)
    q0 = (w**2 - M**2 - q2) / (2.0 * w)
    k, size = np.sqrt(q0**2 + q2), np.sqrt(q2)
    p, q = np.array([w - q0, 0, 0, -k]), np.array([q0, 0, 0, k])
    total = p + q

    def current(alpha: np.ndarray, e: np.ndarray) -> np.ndarray:
        """Contract the vertex with the Delta's vector index and a polarization."""
        ae, aq = dot(alpha, e), dot(alpha, q)
        vector = c3v / M * (ae * slash(q) - aq * slash(e))
        scalar = c4v / M**2 * (ae * dot(q, total) - aq * dot(total, e))
        scalar += c5v / M**2 * (ae * dot(q, p) - aq * dot(p, e))
        axial = c4a / M**2 * (ae * dot(q, total) - aq * dot(total, e))
        axial += c5a * ae + c6a / M**2 * aq * dot(q, e)
        return (vector + scalar * np.eye(4)) @ GAMMA5 + axial_sign * axial * np.eye(4)

    basis = {
        "+": -np.array([0, 1, 1j, 0]) / np.sqrt(2),
        "-": np.array([0, 1, -1j, 0]) / np.sqrt(2),
        "L": np.array([k, 0, 0, q0]) / size,
        "S": q / size,
    }
    values = {name: [] for name in basis}
    for state in delta_spinors(w):
        for up in (True, False):
            u = spinor(p, M, up)
            for name, e in basis.items():
                value = 0.0
                for mu in range(4):  # the sum over the vector index, one spinor for each
                    unit = np.zeros(4)
                    unit[mu] = METRIC[mu, mu]
                    value += state[mu].conj() @ GAMMA[0] @ current(unit, e) @ u
                values[name].append(value)
    a = {name: np.array(v) for name, v in values.items()}
    pairs = [("+", "+"), ("-", "-"), ("L", "L"), ("L", "S"), ("S", "S")]
    return 0.25 * np.array([np.sum(a[i] * a[j].conj()).real for i, j in pairs])


@settings(max_examples=25, deadline=None)
@given(w=st.floats(1.1, 1.9), q2=st.floats(0.01, 4.0))
def test_amplitudes_are_those_of_the_current(w, q2):
    model = Delta()
    v3, v1, a3, a1, vl, al, s = map(float, model.amplitudes(w**2, q2))
    closed = [
        0.25 * ((v3 + a3) ** 2 + (v1 + a1) ** 2),
        0.25 * ((v3 - a3) ** 2 + (v1 - a1) ** 2),
        0.5 * (vl**2 + al**2),
        0.5 * al * s,
        0.5 * s**2,
    ]
    explicit = explicit_tensor(model, w, q2, 1)
    if explicit[0] < explicit[1]:  # the sign of the axial current is a convention of gamma5
        explicit = explicit_tensor(model, w, q2, -1)
    np.testing.assert_allclose(closed, explicit, rtol=1e-9, atol=1e-12 * max(explicit))


def test_photons_excite_the_delta_as_measured():
    # PDG: A_1/2 = -0.135 +- 0.007, A_3/2 = -0.255 +- 0.007 GeV^-1/2 of gamma p -> Delta+
    amplitudes = Delta().amplitudes(DELTA_MASS**2, 1e-9)
    scale = np.sqrt(np.pi * FINE_STRUCTURE / (M * (DELTA_MASS**2 - M**2)))
    np.testing.assert_allclose(scale * amplitudes.vector_1, 0.135, rtol=0.08)
    np.testing.assert_allclose(scale * amplitudes.vector_3, 0.255, rtol=0.08)


def test_the_mass_is_a_density():
    w = np.linspace(THRESHOLD, 2.0, 20001)  # beyond, the running width makes a long tail
    area = np.sum(2.0 * w * breit_wigner(w**2)) * (w[1] - w[0])
    np.testing.assert_allclose(area, 1.0, atol=0.1)
    assert float(breit_wigner(0.99 * THRESHOLD**2)) == 0.0
    peak = w[np.argmax(breit_wigner(w**2))]
    np.testing.assert_allclose(peak, DELTA_MASS, atol=0.02)


def test_protons_make_the_doubly_charged_delta_as_measured():
    # nu_mu p -> mu p pi+ with W < 1.4 GeV, at 2 to 3 GeV: 0.6 x 1e-38 cm^2, with flux errors of 10
    # (BNL) and 20 % (ANL) (Graczyk et al., arXiv:0908.2175, to which C5A was fitted)
    model, sphere = Delta(), FermiSphere(0.002, 0.0, points=4)

    def nucleon(w2, q2):
        keep = jnp.where(w2 < 1.4**2, 3.0, 0.0)
        return Helicity(*(keep * part for part in model(w2, q2)))

    def sf(x, q2):
        tensor = sphere(nucleon, q2 / (2.0 * M * x), q2)
        return bernstein_from_helicity(tensor, x, q2, MUON_MASS, 1)

    total = total_cross_section(sf, np.array([2.0, 3.0]), MUON_MASS)
    np.testing.assert_allclose(total, 0.6, atol=0.12)
