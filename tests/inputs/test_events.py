"""Events from a file: the numbers that stand there, or one line that says what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesxs.constants import MUON_MASS
from bayesxs.errors import InputError
from bayesxs.inputs.events import load_events

HEADER = "lepton_energy_GeV,cos_theta\n"


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "events.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(folder: Path, text: str | bytes) -> str:
    """Return the message, which names the file in one line."""
    path = written(folder, text)
    with pytest.raises(InputError) as caught:
        load_events(path, [MUON_MASS])
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("events")


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(MUON_MASS, 1e3, exclude_min=True), st.floats(-1.0, 1.0)), min_size=1
    )
)
def test_every_event_is_read_to_the_last_bit(folder, rows):
    text = HEADER + "".join(f"{energy!r},{cosine!r}\n" for energy, cosine in rows)
    events = load_events(written(folder, text), [MUON_MASS])
    assert events.lepton_energy.dtype == events.cos_theta.dtype == np.float64
    np.testing.assert_array_equal(np.stack(events[:2], axis=1), rows)


def test_columns_are_found_by_name(folder):
    text = "run,cos_theta,lepton_energy_GeV,comment\n7,0.5,1.25,a\n8,-1,2e0,\n"
    for line_end in ("\n", "\r\n"):
        events = load_events(written(folder, text.replace("\n", line_end)), [MUON_MASS])
        np.testing.assert_array_equal(events.lepton_energy, [1.25, 2.0])
        np.testing.assert_array_equal(events.cos_theta, [0.5, -1.0])


def test_a_spreadsheet_may_mark_its_encoding(folder):
    events = load_events(
        written(folder, b"\xef\xbb\xbf" + (HEADER + "1,0\n").encode()), [MUON_MASS]
    )
    np.testing.assert_array_equal(events.lepton_energy, [1.0])


def test_the_path_may_be_text(folder):
    assert len(load_events(str(written(folder, HEADER + "1,0\n")), [MUON_MASS]).cos_theta) == 1


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("lepton_energy_GeV\n1\n", ("cos_theta is missing", "columns = lepton_energy_GeV")),
        ("E,cos_theta\n1,0\n", ("lepton_energy_GeV is missing", "E,cos_theta")),
        ("", ("lepton_energy_GeV is missing",)),
        (HEADER, ("no events", "at least one row")),
        (HEADER + "\n\n", ("no events",)),
        (HEADER + "1,0\n1,one\n", ("event 1: cos_theta = one", "must be a number")),
        (HEADER + "1,0\n,0\n", ("event 1: lepton_energy_GeV", "must be a number")),
        (HEADER + "1,0\n2\n", ("event 1: cos_theta", "must be a number")),
        (HEADER + "nan,0\n", ("event 0: lepton_energy_GeV = nan", "must be finite")),
        (HEADER + "1,0\n1,-inf\n", ("event 1: cos_theta = -inf", "must be finite")),
        (HEADER + "1,0\n0.1,0\n", ("event 1: lepton_energy_GeV = 0.1", "above the lepton mass")),
        (HEADER + "-2,0\n", ("event 0: lepton_energy_GeV = -2", "0.105658 GeV")),
        (HEADER + "1,1.0000001\n", ("event 0: cos_theta = 1.0000001", "between -1 and 1")),
        (HEADER + "1,0\n1,2\n1,0\n1,-3\n1,4\n", ("event 1: cos_theta = 2", "(and 2 more rows)")),
        ("lepton_energy_GeV,cos_theta,Weight\n1,0,2\n", ("columns = Weight", "counts once")),
        ("sample,lepton_energy_GeV,cos_theta\n1,1,0\n", ("event 0: sample = 1", "0")),
        (b"\xff\xfe\x00", ("cannot be read",)),
        (b"PK\x03\x04\x00\x80\x81", ("cannot be read",)),
    ],
)
def test_bad_files_are_refused_in_one_line(folder, text, parts):
    message = refusal(folder, text)
    for part in parts:
        assert part in message


def test_at_rest_is_below_threshold(folder):
    assert "above the lepton mass" in refusal(folder, f"{HEADER}{MUON_MASS!r},0\n")


def test_missing_files_and_folders_are_refused(tmp_path):
    for path in (tmp_path / "absent.csv", tmp_path):
        with pytest.raises(InputError, match="cannot be read") as caught:
            load_events(path, [MUON_MASS])
        assert str(caught.value).startswith(str(path))


MASSES = [MUON_MASS, 0.000511]


def test_events_of_several_samples_say_to_which_they_belong(folder):
    """An electron may have less energy than a muon weighs."""
    text = "cos_theta,sample,lepton_energy_GeV\n0.5,1,0.05\n0.6,0,1\n0.7,1,2\n"
    events = load_events(written(folder, text), MASSES)
    np.testing.assert_array_equal(events.sample, [1, 0, 1])
    np.testing.assert_array_equal(events.lepton_energy, [0.05, 1.0, 2.0])
    for row, part in (
        ("1,0.5,0\n0.05,0.5,0", "event 1: lepton_energy_GeV = 0.05"),
        ("1,0.5,2", "event 0: sample = 2"),
        ("1,0.5,0.5", "the number of a [[sample]], from 0 to 1"),
    ):
        path = written(folder, f"lepton_energy_GeV,cos_theta,sample\n{row}\n")
        with pytest.raises(InputError) as caught:
            load_events(path, MASSES)
        assert part in str(caught.value)
    with pytest.raises(InputError, match="sample is missing"):
        load_events(written(folder, HEADER + "1,0\n"), MASSES)


def test_what_a_run_has_simulated_can_be_read_back(folder):
    text = (
        "event,sample,lepton_energy,z,cos_theta,energy,reco_lepton_energy,reco_angle\n"
        "0,0,1.0,0.1,0.9,2.0,1.1,0.5\n1,0,3.0,0.2,0.8,4.0,0.08,3.0\n"
    )
    path = written(folder, text)
    true, seen = (load_events(path, [MUON_MASS], reconstructed=r) for r in (False, True))
    np.testing.assert_array_equal(true.lepton_energy, [1.0, 3.0])
    np.testing.assert_array_equal(true.cos_theta, [0.9, 0.8])
    np.testing.assert_array_equal(seen.lepton_energy, [1.1, 0.08])
    np.testing.assert_allclose(np.arccos(seen.cos_theta), [0.5, 3.0], rtol=1e-12)
    with pytest.raises(InputError, match="must lie between 0 and pi"):
        load_events(
            written(folder, "reco_lepton_energy,reco_angle\n1,4\n"), [1.0], reconstructed=True
        )
