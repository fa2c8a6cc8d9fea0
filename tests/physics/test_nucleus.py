"""The built-in nucleus: positivity, isospin, measured totals, and events of generators."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesxs.constants import (
    CABIBBO,
    ELECTRON_MASS,
    MUON_MASS,
    NUCLEON_MASS,
    PION_MASS,
    TAU_MASS,
)
from bayesxs.inputs.pdf import embedded_ct18nnlo
from bayesxs.physics.cross_section import (
    density_of_transfer,
    differential_cross_section,
    total_cross_section,
    transfer_points,
)
from bayesxs.physics.delta_resonance import Delta
from bayesxs.physics.helicity import Helicity, bernstein_from_helicity
from bayesxs.physics.kinematics import invariants
from bayesxs.physics.nature import Nature
from bayesxs.physics.nucleon_form_factors import axial_form_factor, elastic_tensor
from bayesxs.physics.nucleus import CHANNELS, Nucleus

M = NUCLEON_MASS
PDF = embedded_ct18nnlo()
ARGON = Nucleus(PDF, 18.0, 22.0)


CHUNK = 2304  # points a call: one compilation serves all shapes
DEFAULTS = (18.0, 22.0, 0.241, 0.028, 1.03)  # Z, N, k_F, E_shift, M_A
ISOSCALAR = (20.0, 20.0, *DEFAULTS[2:])


@lru_cache
def compiled(scaling, antineutrino):
    def parts(protons, neutrons, fermi, shift, axial_mass, x, q2):
        nucleus = Nucleus(PDF, protons, neutrons, fermi, shift, axial_mass, quasi_elastic=scaling)
        return nucleus.channels(x, q2, antineutrino)

    return jax.jit(parts)


def channels_of(x, q2, antineutrino, scaling="superscaling", numbers=DEFAULTS):
    """Return the tensors of the channels at points of any shape."""
    x, q2 = np.broadcast_arrays(np.asarray(x, float), np.asarray(q2, float))
    size = -x.size % CHUNK
    flat = [np.pad(a.ravel(), (0, size), constant_values=0.5).reshape(-1, CHUNK) for a in (x, q2)]
    pieces = [compiled(scaling, antineutrino)(*numbers, *row) for row in zip(*flat, strict=True)]
    return {
        name: Helicity(
            *(
                np.concatenate([np.asarray(piece[name][i]) for piece in pieces])[: x.size].reshape(
                    x.shape
                )
                for i in range(5)
            )
        )
        for name in CHANNELS
    }


def bernstein_of(mass, antineutrino, channels=CHANNELS, numbers=DEFAULTS):
    """Give what `structure_functions` gives, with one compiled tensor for all leptons."""

    def sf(x, q2):
        parts = channels_of(x, q2, antineutrino, numbers=numbers)
        tensor = Helicity(*(sum(parts[name][i] for name in channels) for i in range(5)))
        return bernstein_from_helicity(tensor, x, q2, mass, -1 if antineutrino else 1)

    return sf


@settings(max_examples=12, deadline=None)
@given(
    scaling=st.sampled_from(["superscaling", "fermi_gas"]),
    antineutrino=st.booleans(),
    fermi=st.floats(0.05, 0.3),
    shift=st.floats(0.0, 0.05),
    axial_mass=st.floats(0.8, 1.4),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_channel_is_a_positive_tensor(scaling, antineutrino, fermi, shift, axial_mass, seed):
    rng = np.random.default_rng(seed)
    x = 3.0 * rng.uniform(1e-4, 1.0, CHUNK) ** 2
    q2 = np.exp(rng.uniform(np.log(1e-8), np.log(30.0), CHUNK))
    numbers = (18.0, 22.0, fermi, shift, axial_mass)
    for tensor in channels_of(x, q2, antineutrino, scaling, numbers).values():
        plus, minus, ll, ls, ss = (np.asarray(part) for part in tensor)
        assert np.isfinite([plus, minus, ll, ls, ss]).all()
        assert min(plus.min(), minus.min(), ll.min(), ss.min()) >= 0.0
        assert np.all(ls**2 <= ll * ss * (1.0 + 1e-9))


@pytest.mark.parametrize("antineutrino", [False, True])
@pytest.mark.parametrize("mass", [ELECTRON_MASS, MUON_MASS, TAU_MASS])
def test_no_lepton_sees_a_negative_cross_section(mass, antineutrino):
    rng = np.random.default_rng(5)
    x = 3.0 * rng.uniform(1e-4, 1.0, 4000) ** 2
    q2 = np.exp(rng.uniform(np.log(1e-6), np.log(30.0), 4000))
    b0, b1, b2 = np.asarray(bernstein_of(mass, antineutrino)(x, q2)).T
    assert np.isfinite([b0, b1, b2]).all()
    assert min(b0.min(), b2.min()) >= 0.0
    assert np.all(b1 >= -np.sqrt(b0 * b2))


def test_a_nucleus_is_a_nature():
    nature: Nature = Nucleus(lambda x, q2, ids: PDF.xf(x, q2, ids))  # checked by mypy
    x, q2 = np.array([[0.2], [0.5]]), np.array([2.0, 3.0, 4.0])  # where its continuation is none
    ours = jax.jit(nature.structure_functions(MUON_MASS, antineutrino=True))(x, q2)
    assert ours.shape == (2, 3, 3)
    np.testing.assert_allclose(ours, bernstein_of(MUON_MASS, True)(x, q2), rtol=1e-4)


def test_channels_add_up():
    x, q2 = np.array([0.1, 0.6, 1.2]), np.array([0.3, 0.8, 0.5])
    parts = channels_of(x, q2, antineutrino=False)
    total = ARGON.helicity(x, q2, channels=("quasi_elastic", "delta"))
    for i in range(5):
        expected = parts["quasi_elastic"][i] + parts["delta"][i]
        np.testing.assert_allclose(total[i], expected, rtol=1e-10)


@pytest.mark.parametrize("name", ["quasi_elastic", "delta"])
def test_isospin_mirrors_neutrinos_on_the_mirror_nucleus(name):
    x, q2 = np.array([0.3, 0.7, 1.1]), np.array([0.3, 0.8, 0.5])
    mirror = (22.0, 18.0, *DEFAULTS[2:])
    ours = channels_of(x, q2, antineutrino=False)[name]
    theirs = channels_of(x, q2, antineutrino=True, numbers=mirror)[name]
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_electrons_see_no_scalar_part():
    # LS and SS enter with m^2; what is left does not depend on a vanishing mass
    x, q2 = np.array([0.1, 0.6, 1.2]), np.array([0.3, 0.8, 0.5])
    nearly = np.asarray(bernstein_of(1e-7, False)(x, q2))
    np.testing.assert_allclose(bernstein_of(ELECTRON_MASS, False)(x, q2), nearly, rtol=1e-4)
    assert np.max(np.abs(np.asarray(bernstein_of(MUON_MASS, False)(x, q2)) / nearly - 1.0)) > 1e-3


def test_the_pion_pole_is_seen_by_muons_alone():
    """Without it the axial current of a nucleon has the divergence G_A: SS = |V_ud|^2 G_A^2."""
    q2 = np.array([0.05, 0.3, 1.0])
    whole, none = (elastic_tensor(q2, 1.03, pseudoscalar=p) for p in (1.0, 0.0))
    for i in range(4):
        np.testing.assert_array_equal(whole[i], none[i])
    axial = np.asarray(axial_form_factor(q2, 1.03))
    np.testing.assert_allclose(none.ss, CABIBBO**2 * axial**2, rtol=1e-14)
    pole = PION_MASS**2 / (q2 + PION_MASS**2)
    np.testing.assert_allclose(whole.ss, CABIBBO**2 * (axial * pole) ** 2, rtol=1e-12)
    other = dataclasses.replace(ARGON, pseudoscalar=0.0, delta=Delta(pseudoscalar=0.0))
    x, channels = np.array([0.6, 0.8, 1.0]), ("quasi_elastic", "delta")
    tensors = [own.helicity(x, q2, channels=channels) for own in (ARGON, other)]
    assert (np.asarray(tensors[1].ss) > 1.5 * np.asarray(tensors[0].ss)).all()
    moved = {}
    for mass in (1e-7, MUON_MASS):
        seen = [np.asarray(bernstein_from_helicity(t, x, q2, mass, 1)) for t in tensors]
        moved[mass] = abs(seen[1] / seen[0] - 1.0).max()
    assert moved[1e-7] < 1e-9
    assert moved[MUON_MASS] > 1e-3


# sigma_CC/E of an isoscalar nucleon, 30 to 200 GeV, in 1e-38 cm^2/GeV: 0.677 +- 0.014 and 0.334 +-
# 0.008 (PDG review of neutrino cross section measurements); the leading order is good to 5 %
@pytest.mark.parametrize(("antineutrino", "measured"), [(False, 0.677), (True, 0.334)])
def test_totals_reach_the_measured_slope(antineutrino, measured):
    energy = np.array([60.0])
    sf = bernstein_of(MUON_MASS, antineutrino, numbers=ISOSCALAR)
    total = total_cross_section(sf, energy, MUON_MASS, points=48) / 40.0
    np.testing.assert_allclose(total / energy, measured, rtol=0.05)


# sigma/E of iron as isoscalar nucleons, in 1e-38 cm^2/GeV, total errors 8, 5, 6 % and about 10 %
# (MINOS, arXiv:0910.2201, table III and its like for antineutrinos)
@pytest.mark.parametrize(
    ("antineutrino", "energy", "measured"),
    [(False, (3.48, 5.89, 10.45), (0.748, 0.708, 0.699)), (True, (6.07, 10.43), (0.305, 0.303))],
)
def test_few_gev_totals_have_the_measured_size(antineutrino, energy, measured):
    sf = bernstein_of(MUON_MASS, antineutrino, numbers=ISOSCALAR)
    total = total_cross_section(sf, np.array(energy), MUON_MASS, points=48) / 40.0
    np.testing.assert_allclose(total / np.array(energy), measured, rtol=0.1)


def test_total_and_differential_cross_sections_are_one():
    # d2s/dE_l dz, on the other axes of the phase space, where x < 1
    rng = np.random.default_rng(3)
    sf = bernstein_of(MUON_MASS, False)
    energy, lepton, z = np.full(50, 3.0), rng.uniform(0.5, 2.5, 50), rng.uniform(0.05, 0.5, 50)
    d2s = np.asarray(differential_cross_section(sf, energy, lepton, z, MUON_MASS))
    q2 = np.asarray(invariants(energy, lepton, z, MUON_MASS).q2)
    ours = 2.0 * M * energy * density_of_transfer(sf, energy, energy - lepton, q2, MUON_MASS)
    inside = d2s > 0.0
    assert inside.sum() > 10
    np.testing.assert_allclose(np.asarray(ours)[inside], d2s[inside], rtol=1e-10)


# --- events of generators (CONTRIBUTING: the folder of official data) ---


@pytest.fixture(scope="module")
def generator(reference: Path) -> Path:
    folder = reference / "generator"
    if not folder.is_dir():
        pytest.skip(f"no samples of generators in {folder}")
    return folder


@lru_cache
def sample(path: Path) -> SimpleNamespace:
    """Load events with energy transfer, Q^2 and x."""
    with np.load(path) as file:
        energy, lepton, cosine, channel = (
            file[name].astype(float) for name in ("E_nu", "E_l", "cos_theta", "channel")
        )
        weight = file["weight"].astype(float) if "weight" in file else np.ones_like(energy)
    lepton = np.maximum(lepton, MUON_MASS)
    momentum = np.sqrt(lepton**2 - MUON_MASS**2)
    q2 = 2.0 * energy * (lepton - momentum * cosine) - MUON_MASS**2
    return SimpleNamespace(
        energy=energy, lepton=lepton, nu=energy - lepton, q2=q2, channel=channel, weight=weight
    )


@pytest.mark.parametrize("flavor", ["numu", "numubar"])
def test_totals_lie_near_those_of_nuwro(generator, flavor):
    table = np.genfromtxt(generator / f"nuwro_ar40_{flavor}_sigma.csv", delimiter=",", names=True)
    middle = 0.5 * (table["E_low_GeV"] + table["E_high_GeV"])
    rows = np.array([np.argmin(np.abs(middle - e)) for e in (0.875, 1.375, 3.125)])
    antineutrino = flavor == "numubar"

    def total(*channels):
        sf = bernstein_of(MUON_MASS, antineutrino, channels)
        return np.asarray(total_cross_section(sf, middle[rows], MUON_MASS, points=64)) / 40.0

    def theirs(*names):
        return sum(table[f"{name}_1e38cm2_per_nucleon"][rows] for name in names)

    elastic, pions = total("quasi_elastic"), total("delta", "inelastic")
    # superscaling lies 10 to 20 % below a local Fermi gas
    np.testing.assert_allclose(elastic, theirs("qe"), rtol=0.22)
    np.testing.assert_allclose(pions, theirs("res", "dis"), rtol=0.2)
    np.testing.assert_allclose(elastic + pions, theirs("qe", "res", "dis"), rtol=0.12)


def slices(events, keep, sf, energies, edges_lepton, edges_q2):
    """Return shares of events and of the model in bins of lepton energy and Q^2."""
    low, high = energies
    chosen = keep & (events.energy > low) & (events.energy < high)
    counts, _, _ = np.histogram2d(
        events.lepton[chosen],
        events.q2[chosen],
        (edges_lepton, edges_q2),
        weights=events.weight[chosen],
    )
    energy = 0.5 * (low + high)
    nu, q2, weight = (np.asarray(a) for a in transfer_points(energy, MUON_MASS, 72))
    density = weight * np.asarray(density_of_transfer(sf, energy, nu, q2, MUON_MASS))
    model, _, _ = np.histogram2d(
        (energy - nu).ravel(), q2.ravel(), (edges_lepton, edges_q2), weights=density.ravel()
    )
    return counts / counts.sum(), model / model.sum()


def test_shapes_lie_near_those_of_nuwro(generator):
    events = sample(generator / "nuwro_ar40_numu_duneND.npz")
    for energies, lepton in (((1.45, 1.55), 1.5), ((2.9, 3.1), 3.0)):
        theirs, ours = slices(
            events,
            events.channel < 3,  # quasi-elastic, resonances, deep inelastic
            bernstein_of(MUON_MASS, False),
            energies,
            np.linspace(0.1, lepton + 0.1, 7),
            np.array([0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 6.0]),
        )
        # half the sum of differences: the share of events that would have to move
        assert 0.5 * np.abs(theirs - ours).sum() < 0.12


def test_the_quasi_elastic_shape_lies_near_that_of_a_spectral_function(generator):
    events = sample(generator / "achilles_ar40_numu_duneND_qe.npz")
    theirs, ours = slices(
        events,
        np.ones_like(events.energy, bool),
        bernstein_of(MUON_MASS, False, ("quasi_elastic",)),
        (1.9, 2.1),
        np.linspace(0.1, 2.1, 9),
        np.array([0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 6.0]),
    )
    assert 0.5 * np.abs(theirs - ours).sum() < 0.12


def test_the_share_beyond_x_of_one_lies_near_that_of_generators(generator):
    # 29 % (NuWro) and 21 % (Achilles) of the quasi-elastic events of the whole flux
    energy = 2.0
    nu, q2, weight = (np.asarray(a) for a in transfer_points(energy, MUON_MASS, 96))
    sf = bernstein_of(MUON_MASS, False, ("quasi_elastic",))
    density = weight * np.asarray(density_of_transfer(sf, energy, nu, q2, MUON_MASS))
    share = density[q2 > 2.0 * M * nu].sum() / density.sum()
    for path in ("nuwro_ar40_numu_duneND.npz", "achilles_ar40_numu_duneND_qe.npz"):
        events = sample(generator / path)
        near = (np.abs(events.energy - energy) < 0.2) & (events.channel == 0)
        theirs = np.average(events.q2[near] > 2.0 * M * events.nu[near])
        assert abs(share - theirs) < 0.1
