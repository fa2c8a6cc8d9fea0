"""Near-detector counts from a file: what stands there, or one line that says what is wrong."""

from __future__ import annotations

import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesxs.errors import InputError
from bayesxs.inputs.counts import has_edges, load_counts, load_table

AXES = {"lepton_energy_GeV": np.array([0.1, 1.0, 2.0, 4.0]), "z": np.array([0.0, 0.5, 1.0])}
HEADER = "lepton_energy_GeV,z,counts\n"


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "near.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("counts")


@settings(max_examples=30, deadline=None)
@given(
    counts=st.lists(st.integers(0, 10**11), min_size=6, max_size=6).filter(any),
    order=st.permutations(range(6)),
    inside=st.floats(0.01, 0.99),
)
def test_counts_come_back_in_the_order_of_the_bins(folder, counts, order, inside):
    energy, z = AXES.values()
    lines = []
    for index in order:
        i, j = divmod(index, 2)
        place = energy[i] + inside * np.diff(energy)[i], z[j] + inside * np.diff(z)[j]
        lines.append(f"{float(place[0])!r},{float(place[1])!r},{counts[index]}\n")
    text = HEADER + "".join(lines)
    found = load_counts(written(folder, text), AXES)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, counts)


def test_bins_that_are_not_listed_are_empty(folder):
    found = load_counts(written(folder, HEADER + "1.5,0.7,3\n"), AXES)
    np.testing.assert_array_equal(found, [0, 0, 0, 3, 0, 0])


def test_edges_belong_to_the_bin_above_and_the_last_to_the_last(folder):
    text = HEADER + "1.0,0.5,1\n4.0,1.0,2\n0.1,0.0,3\n"
    found = load_counts(written(folder, text), AXES)
    np.testing.assert_array_equal(found, [3, 0, 0, 1, 0, 2])


def test_columns_are_found_by_name(folder):
    text = b"\xef\xbb\xbfcounts,run,z,lepton_energy_GeV\r\n5,a,0.2,0.5\r\n"
    assert load_counts(written(folder, text), AXES)[0] == 5.0


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("lepton_energy_GeV,z\n1,0\n", ("counts is missing", "columns = lepton_energy_GeV,z")),
        ("lepton_energy_GeV,counts\n1,0\n", ("z is missing",)),
        ("", ("lepton_energy_GeV is missing",)),
        (HEADER, ("no events", "at least one count above 0")),
        (HEADER + "1,0,0\n", ("no events",)),
        (HEADER + "1,0,2\n1,0.7,-3\n", ("row 1: counts = -3", "an integer >= 0")),
        (HEADER + "1,0,2.5\n", ("row 0: counts = 2.5", "an integer >= 0")),
        (HEADER + "1,0,many\n", ("row 0: counts = 'many'", "a finite number")),
        (HEADER + "1,0,inf\n", ("row 0: counts = 'inf'", "a finite number")),
        (HEADER + "1,0,nan\n", ("row 0: counts = 'nan'", "a finite number")),
        (HEADER + "1,0\n", ("row 0: counts = ''", "a finite number")),
        (HEADER + "0.05,0,2\n", ("row 0: lepton_energy_GeV = 0.05", "between 0.1 and 4")),
        (HEADER + "1,1.5,2\n", ("row 0: z = 1.5", "between 0 and 1, the edges of the bins")),
        (HEADER + "1.1,0.1,2\n3,0,1\n1.9,0.4,2\n", ("row 2: its bin stands in an earlier row",)),
        (HEADER + "1,0,9e11\n3,0,9e11\n", ("sum of counts = 1.8e+12", "at most 1e+12")),
        (b"\xff\xfe\x00", ("cannot be read",)),
    ],
)
def test_bad_files_are_refused_in_one_line(folder, text, parts):
    path = written(folder, text)
    with pytest.raises(InputError) as caught:
        load_counts(path, AXES)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    for part in parts:
        assert part in message


def test_missing_files_are_refused(tmp_path):
    for path in (tmp_path / "absent.csv", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            load_counts(path, AXES)


EDGES = "lepton_energy_GeV_low,lepton_energy_GeV_high,{0}_low,{0}_high,counts\n"
COSINE = EDGES.format("cos_theta")


@settings(max_examples=30, deadline=None)
@given(
    energy=st.lists(st.floats(0.0, 50.0), min_size=2, max_size=5, unique=True),
    cosine=st.lists(st.floats(-1.0, 1.0), min_size=2, max_size=5, unique=True),
    data=st.data(),
)
def test_bins_with_their_edges_come_back_as_they_stand(folder, energy, cosine, data):
    """Uneven bins, in any order, some of them left out."""
    sides = [[np.round(np.sort(a), 6)] for a in (energy, cosine)]
    pairs = [
        [(low, high) for low, high in pairwise(edges) if high - low > 1e-5] for (edges,) in sides
    ]
    bins = [(*e, *c) for e in pairs[0] for c in pairs[1]]
    if not bins:
        return
    chosen = data.draw(st.lists(st.sampled_from(bins), min_size=1, unique=True))
    lines = [",".join(f"{v:.6f}" for v in b) + f",{i + 1}\n" for i, b in enumerate(chosen)]
    path = written(folder, COSINE + "".join(lines))
    assert has_edges(path)
    table = load_table(path)
    assert table.axis == "cos_theta"
    np.testing.assert_allclose(np.hstack([table.energy, table.second]), chosen, atol=1e-9)
    np.testing.assert_array_equal(table.counts, np.arange(len(chosen)) + 1)


def test_bins_of_every_axis_are_known(folder):
    assert not has_edges(written(folder, HEADER))
    for axis in ("z", "cos_theta", "angle_rad"):
        table = load_table(written(folder, EDGES.format(axis) + "0.5,1,0,0.5,3\n0.5,1,0.5,1,0\n"))
        assert table.axis == axis
        np.testing.assert_array_equal(table.counts, [3.0, 0.0])


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (COSINE, ("no events",)),
        (COSINE + "0,1,0,1,0\n", ("no events",)),
        (COSINE + "1,1,0,1,2\n", ("row 0: lepton_energy_GeV_low = 1", "below the upper edge 1")),
        (
            COSINE + "-1,1,0,1,2\n",
            ("lepton_energy_GeV_low = -1", "edges must lie between 0"),
        ),
        (COSINE + "0,1,0,1.5,2\n", ("row 0: cos_theta_high = 1.5", "between -1 and 1")),
        (COSINE + "0,1,0.5,0,2\n", ("row 0: cos_theta_low = 0.5", "below the upper edge 0")),
        (EDGES.format("angle_rad") + "0,1,0,4,2\n", ("angle_rad_high = 4", "between 0 and 3.14")),
        (COSINE + "0,2,0,1,2\n1,3,0.5,1,2\n", ("row 1: its bin overlaps with that of row 0",)),
        (COSINE + "0,2,0,1,2\n0,2,0,1,2\n", ("row 1: its bin overlaps with that of row 0",)),
        (COSINE + "0,2,0,1,2.5\n", ("row 0: counts = 2.5", "an integer >= 0")),
        (COSINE.replace(",counts", "") + "0,2,0,1\n", ("counts is missing",)),
        (COSINE.replace("GeV_high", "GeV_top") + "0,2,0,1,2\n", ("GeV_high is missing",)),
        ("lepton_energy_GeV_low,lepton_energy_GeV_high,counts\n", ("one of z, cos_theta",)),
        (COSINE.replace("counts", "z_low,counts"), ("one of z, cos_theta",)),
    ],
)
def test_bad_bins_are_refused_in_one_line(folder, text, parts):
    path = written(folder, text)
    with pytest.raises(InputError) as caught:
        load_table(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    for part in parts:
        assert part in message


def test_edges_of_any_size_are_read(folder):
    """An upper edge near the largest number stands for an open bin."""
    text = "lepton_energy_GeV_low,lepton_energy_GeV_high,z_low,z_high,counts\n"
    rows = "0,2,0,0.5,1\n2,1e307,0,0.5,3\n0,2,0.5,1e305,4\n"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = load_table(written(folder, text + rows))
    np.testing.assert_array_equal(table.counts, [1, 3, 4])
    assert table.energy.max() == 1e307
    with pytest.raises(InputError, match="row 1: its bin overlaps with that of row 0"):
        load_table(written(folder, text + "0,1e307,0,1,1\n1e306,1e308,0,1,2\n"))
