"""Covariances of the flux shape: files, checks, and the modes made from them."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesxs.errors import InputError
from bayesxs.inputs.covariance import (
    FluxCovariance,
    flux_modes,
    load_covariance,
    make_covariance,
    parametric_covariance,
)

EDGES = np.array([0.5, 1.0, 2.0, 4.0, 8.0])
MATRIX = 0.01 * np.array(
    [
        [1.0, 0.5, 0.1, 0.0],
        [0.5, 2.0, 0.3, -0.2],
        [0.1, 0.3, 1.0, 0.4],
        [0.0, -0.2, 0.4, 3.0],
    ]
)
ENERGY = np.geomspace(0.5, 40.0, 60)


def csv_text(edges=EDGES, matrix=MATRIX, header=None):
    names = [f"c{i + 1}" for i in range(np.shape(matrix)[1])]
    lines = [header or ",".join(["energy_low_GeV", "energy_high_GeV", *names])]
    for low, high, row in zip(edges[:-1], edges[1:], matrix, strict=True):
        lines.append(",".join(repr(float(value)) for value in (low, high, *row)))
    return "\n".join(lines) + "\n"


@pytest.fixture
def write_csv(tmp_path):
    def write(text):
        path = tmp_path / "flux_covariance.csv"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def write_npz(tmp_path):
    def write(**arrays):
        path = tmp_path / "flux_covariance.npz"
        np.savez(path, **arrays)
        return path

    return write


def changed(i, j, value, both=False):
    matrix = MATRIX.copy()
    matrix[i, j] = value
    if both:
        matrix[j, i] = value
    return matrix


# The parametric default


def test_parametric_covariance_is_the_stated_formula():
    found = parametric_covariance([1.0, 2.0, 10.0], 0.08, 0.7)
    assert found[0, 0] == pytest.approx(0.0064, rel=1e-14)
    assert found[0, 1] == pytest.approx(0.0064 * np.exp(-(np.log(2) ** 2) / (2 * 0.49)), rel=1e-13)
    np.testing.assert_array_equal(found, found.T)
    # Only ratios of energies count
    np.testing.assert_allclose(
        parametric_covariance([3.0, 6.0, 30.0], 0.08, 0.7), found, rtol=1e-12
    )


@pytest.mark.parametrize(
    ("energy", "amplitude", "length", "message"),
    [
        ([1.0], -0.1, 0.5, r"flux covariance: amplitude = -0\.1: finite and >= 0"),
        ([1.0], np.nan, 0.5, "amplitude = nan"),
        ([1.0], 0.1, 0.0, r"correlation_length = 0\.0: finite and > 0"),
        ([1.0, 0.0], 0.1, 0.5, r"energy = 0\.0: finite and > 0, in GeV"),
    ],
)
def test_parametric_covariance_out_of_range(energy, amplitude, length, message):
    with pytest.raises(InputError, match=message):
        parametric_covariance(energy, amplitude, length)


# Modes


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 8), rank=st.integers(1, 8))
def test_all_modes_reconstruct_the_covariance(seed, n, rank):
    factor = np.random.default_rng(seed).normal(size=(n, rank))
    matrix = factor @ factor.T
    modes = flux_modes(matrix, np.arange(1.0, n + 1), tolerance=0.0)
    np.testing.assert_allclose(modes.T @ modes, matrix, atol=1e-12 * np.trace(matrix))
    gram = modes @ modes.T  # orthogonal, in falling order
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-12 * np.trace(matrix))
    assert np.all(np.diff(np.diag(gram)) <= 0)


@settings(max_examples=25, deadline=None)
@given(length=st.floats(0.05, 3.0), tolerance=st.floats(1e-6, 0.5))
def test_modes_hold_the_trace_and_no_more_are_kept(length, tolerance):
    matrix = parametric_covariance(ENERGY, 0.1, length)
    modes = flux_modes(matrix, ENERGY, tolerance)
    trace = np.trace(matrix)
    assert np.sum(modes**2) >= (1 - tolerance) * trace * (1 - 1e-12)
    assert np.sum(modes[:-1] ** 2) < (1 - tolerance) * trace
    assert np.linalg.norm(modes.T @ modes - matrix, 2) <= tolerance * trace * (1 + 1e-9)


def test_smooth_covariance_needs_few_modes():
    # ln(40/0.5) = 4.4 is three lengths of 1.5 and thirty of 0.15
    smooth = flux_modes(parametric_covariance(ENERGY, 0.1, 1.5), ENERGY)
    rough = flux_modes(parametric_covariance(ENERGY, 0.1, 0.15), ENERGY)
    assert len(smooth) <= 6 < 25 < len(rough)
    np.testing.assert_allclose(np.sum(smooth**2, axis=0), 0.01, rtol=1e-2)


@pytest.mark.parametrize("binned", [True, False])
def test_constant_covariance_is_one_flat_mode(binned):
    if binned:
        covariance = make_covariance(np.geomspace(0.5, 40.0, 9), np.full((8, 8), 0.04), "test")
    else:
        covariance = np.full((ENERGY.size, ENERGY.size), 0.04)
    modes = flux_modes(covariance, ENERGY)
    np.testing.assert_allclose(modes, np.full((1, ENERGY.size), 0.2), rtol=1e-10)


def test_no_variance_is_no_mode():
    assert flux_modes(np.zeros((60, 60)), ENERGY).shape == (0, 60)
    nothing = make_covariance(EDGES, np.zeros((4, 4)), "test")
    assert flux_modes(nothing, [1.0, 2.0]).shape == (0, 2)


def test_largest_element_of_a_mode_is_positive():
    modes = flux_modes(parametric_covariance(ENERGY, 0.1, 0.5), ENERGY)
    size = np.abs(modes).max(axis=1)
    np.testing.assert_allclose(modes.max(axis=1), size, rtol=1e-5)
    # Two equally large ones of opposite sign: the first decides
    odd = flux_modes(np.array([[1.0, -1.0], [-1.0, 1.0]]), [1.0, 2.0])
    np.testing.assert_allclose(odd, [[1.0, -1.0]], rtol=1e-12)


def test_binned_modes_are_linear_between_centers():
    covariance = make_covariance(EDGES, MATRIX, "test")
    np.testing.assert_array_equal(covariance.centers, [0.75, 1.5, 3.0, 6.0])
    at_centers = flux_modes(covariance, covariance.centers, tolerance=0.0)
    np.testing.assert_allclose(at_centers.T @ at_centers, MATRIX, atol=1e-16)
    midway = flux_modes(covariance, [1.125, 2.25, 4.5], tolerance=0.0)
    np.testing.assert_allclose(midway, 0.5 * (at_centers[:, 1:] + at_centers[:, :-1]), atol=1e-16)
    outer = flux_modes(covariance, [0.5, 8.0], tolerance=0.0)
    np.testing.assert_array_equal(outer, at_centers[:, [0, -1]])


def test_modes_at_energies_outside_the_bins_are_refused():
    covariance = make_covariance(EDGES, MATRIX, "file.csv")
    with pytest.raises(InputError, match=r"file\.csv: energy_edges_GeV = 0\.5 to 8 GeV: .* 10 GeV"):
        flux_modes(covariance, [1.0, 10.0])


def test_matrix_of_other_energies_is_refused():
    with pytest.raises(InputError, match="covariance: shape = 4 x 4: 3 x 3, as the energies"):
        flux_modes(MATRIX, [1.0, 2.0, 3.0])


@pytest.mark.parametrize("tolerance", [-0.1, 1.0, np.nan])
def test_tolerance_out_of_range(tolerance):
    with pytest.raises(InputError, match="0 <= tolerance < 1"):
        flux_modes(MATRIX, EDGES[:-1], tolerance)


# Files


def test_csv_and_npz_hold_the_same(write_csv, write_npz):
    from_csv = load_covariance(write_csv("# a comment, with commas\n\n" + csv_text()), (0.6, 8.0))
    from_npz = load_covariance(
        write_npz(energy_edges_GeV=EDGES, covariance=MATRIX, note="ignored"), (0.5, 8.0)
    )
    for found in (from_csv, from_npz):
        assert isinstance(found, FluxCovariance)
        np.testing.assert_array_equal(found.edges, EDGES)
        np.testing.assert_array_equal(found.matrix, MATRIX)
    assert from_csv.source.endswith("flux_covariance.csv")


def test_one_bin(write_csv):
    found = load_covariance(write_csv(csv_text(EDGES[:2], MATRIX[:1, :1])))
    np.testing.assert_allclose(flux_modes(found, [0.5, 0.7, 1.0]), [[0.1, 0.1, 0.1]], rtol=1e-14)


def test_rounding_is_forgiven():
    matrix = np.ones((3, 3))
    matrix[0, 1] += 5e-9
    edges = np.array([0.1 + 1e-12, 1.0, 2.0, 3.0 - 1e-12])
    found = make_covariance(edges, matrix, "test", (0.1, 3.0))
    np.testing.assert_array_equal(found.matrix, found.matrix.T)


TWO_BY_THREE = MATRIX[:2, :3]
REFUSED = {
    "not square": (EDGES[:3], TWO_BY_THREE, "covariance: shape = 2 x 3: a square matrix"),
    "not symmetric": (
        EDGES,
        changed(2, 0, 0.0011),
        r"covariance: row 1, column 3 = 0\.001: symmetric, but row 3, column 1 is 0\.0011",
    ),
    "not positive": (
        EDGES,
        changed(0, 1, 0.02, both=True),
        r"covariance: eigenvalue = -0\.00\d+: positive semi-definite: no eigenvalue below "
        r"-1e-08 of the largest, 0\.03\d+",
    ),
    "negative": (EDGES, -MATRIX, "eigenvalue = -0.03"),
    "infinite": (EDGES, changed(1, 2, np.inf), "covariance: row 2, column 3 = inf: .* finite"),
    "nan": (EDGES, changed(3, 3, np.nan), "covariance: row 4, column 4 = nan: .* finite"),
    "edges fall": (
        np.array([0.5, 1.0, 0.9, 4.0, 8.0]),
        MATRIX,
        r"energy_edges_GeV: edge 3 = 0\.9: above the previous 1\.0",
    ),
    "edge below zero": (
        np.array([-0.5, 1.0, 2.0, 4.0, 8.0]),
        MATRIX,
        r"energy_edges_GeV: edge 1 = -0\.5: .* finite and >= 0",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_covariances_are_refused_from_npz(write_npz, case):
    edges, matrix, message = REFUSED[case]
    path = write_npz(energy_edges_GeV=edges, covariance=matrix)
    with pytest.raises(InputError, match=message) as caught:
        load_covariance(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", REFUSED)
def test_bad_covariances_are_refused_from_csv(write_csv, case):
    edges, matrix, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        load_covariance(write_csv(csv_text(edges, matrix)))


def test_number_of_edges_is_one_more_than_that_of_bins(write_npz):
    path = write_npz(energy_edges_GeV=EDGES[:-1], covariance=MATRIX)
    with pytest.raises(InputError, match="energy_edges_GeV: shape = 4: 5 edges for 4 bins"):
        load_covariance(path)


@pytest.mark.parametrize("energy_range", [(0.4, 5.0), (1.0, 8.1)])
def test_bins_must_cover_the_analysis(write_csv, energy_range):
    path = write_csv(csv_text())
    load_covariance(path)
    low, high = energy_range
    message = rf"0\.5 to 8 GeV: the bins cover the analysis, {low:g} to {high:g} GeV"
    with pytest.raises(InputError, match=message):
        load_covariance(path, energy_range)


GOOD = csv_text().splitlines()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "empty: a header line and one row per bin are needed"),
        (["# only a comment"], "empty"),
        (["energy,c1", *GOOD[1:]], "header = energy,c1: energy_low_GeV,energy_high_GeV,c1,...,cn"),
        (GOOD[1:], "header = 0.5,1.0,0.01"),
        (["energy_low_GeV,energy_high_GeV", "1,2"], "header = "),
        (GOOD[:-1], "covariance: shape = 3 x 4: a square matrix"),
        ([*GOOD[:-1], "4.0,8.0,0.0"], "row 5: columns = 3: 6 as the header"),
        ([*GOOD[:-1], "4.0,8.0,0,a,0,0"], "row 5: c2 = a: a number"),
        ([*GOOD[:-1], "4.0,8.0,0,,0,0"], r"row 5: c2 = \(empty\): a number"),
        ([*GOOD[:-1], "4.5,8.0,0,0,0,0"], r"row 5: energy_low_GeV = 4\.5: .* before ends, 4\.0"),
    ],
)
def test_malformed_csv(write_csv, lines, message):
    with pytest.raises(InputError, match=message):
        load_covariance(write_csv("\n".join(lines)))


def test_missing_arrays_and_arrays_of_other_kinds(write_npz):
    with pytest.raises(InputError, match="arrays = covariance, edges: holds energy_edges_GeV"):
        load_covariance(write_npz(edges=EDGES, covariance=MATRIX))
    with pytest.raises(InputError, match="covariance: dtype = complex128: real numbers"):
        load_covariance(write_npz(energy_edges_GeV=EDGES, covariance=MATRIX + 1j))
    objects = np.array([None, 1.0], dtype=object)  # pickled: never loaded
    with pytest.raises(InputError, match="cannot be read: expected an NPZ file"):
        load_covariance(write_npz(energy_edges_GeV=EDGES, covariance=objects))


def test_files_that_cannot_be_read(tmp_path, write_npz):
    for name in ("absent.csv", "absent.npz"):
        with pytest.raises(InputError, match=rf"{name}: cannot be read: No such file"):
            load_covariance(tmp_path / name)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match="not a text file"):
        load_covariance(tmp_path / "binary.csv")
    whole = write_npz(energy_edges_GeV=EDGES, covariance=MATRIX).read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    broken = {"text": b"hello", "empty": b"", "cut": whole[:200], "flipped": bytes(flipped)}
    for name, content in broken.items():
        path = tmp_path / f"{name}.npz"
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"{name}\.npz: cannot be read: "):
            load_covariance(path)
    np.save(tmp_path / "one.npy", MATRIX)
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    with pytest.raises(InputError, match="cannot be read: expected an NPZ file"):
        load_covariance(tmp_path / "one.npz")


# Files of anybody


def npy(header: str, data: bytes = b"") -> bytes:
    raw = header.encode()
    return b"\x93NUMPY\x01\x00" + len(raw).to_bytes(2, "little") + raw + data


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (99999999, 99999999)}\n"), "shape"),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 2), (\n"), "cannot be read"),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -1)}\n"), "shape"),
        (npy("(" * 5000), "cannot be read"),
        (b"no array", "cannot be read"),
        (b"\0" * 70_000_000, "unpacked size = 140000000"),  # a few kilobytes in the archive
    ],
)
def test_npz_files_of_anybody(tmp_path, member, message):
    path = tmp_path / "bad.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("energy_edges_GeV.npy", member)
        archive.writestr("covariance.npy", member)
    with pytest.raises(InputError, match=message) as caught:
        load_covariance(path)
    assert str(caught.value).isprintable()


def test_members_that_are_no_arrays(tmp_path):
    path = tmp_path / "raw.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("energy_edges_GeV", b"x")
        archive.writestr("covariance", b"x")
    with pytest.raises(InputError, match="holds energy_edges_GeV"):
        load_covariance(path)


def test_elements_beyond_any_flux():
    with pytest.raises(InputError, match="row 1, column 1 = 1e\\+300: a relative covariance, at"):
        make_covariance([0.5, 1.0], [[1e300]], "file")
