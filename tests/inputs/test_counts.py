"""Near-detector counts from a file: what stands there, or one line that says what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesxs.errors import InputError
from bayesxs.inputs.counts import load_counts

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
    counts=st.lists(st.integers(0, 10**12), min_size=6, max_size=6).filter(any),
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
