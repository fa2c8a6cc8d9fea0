"""Stored results count only when whole and of their task."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bayesxs.engine.results import Results, Task
from bayesxs.errors import InputError
from bayesxs.storage.atomic import write_arrays

TASK = Task("toy-001", "ab12", (1,))
NUMBERS = hnp.boolean_dtypes() | hnp.integer_dtypes() | hnp.floating_dtypes(sizes=(16, 32, 64))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    arrays=st.dictionaries(
        st.text("abc_", min_size=1),
        hnp.arrays(NUMBERS, hnp.array_shapes(min_dims=0, min_side=0)),
        max_size=3,
    )
)
def test_arrays_come_back_bit_by_bit(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    results = Results(tmp_path / "results")
    results.save(TASK, arrays)
    loaded = results.load(TASK)
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        assert loaded[name].shape == array.shape
        assert loaded[name].dtype == array.dtype.newbyteorder("=")
        np.testing.assert_array_equal(loaded[name], array)
    assert results.has(TASK)


def test_nothing_stored_is_nothing(tmp_path: Path) -> None:
    results = Results(tmp_path / "none")
    assert not results.has(TASK)
    assert results.failures == {}
    with pytest.raises(InputError, match="toy-001"):
        results.load(TASK)


@pytest.mark.parametrize("cut", [0, 7, 40, -1])
def test_a_truncated_file_does_not_count(tmp_path: Path, cut: int) -> None:
    results = Results(tmp_path)
    results.save(TASK, {"x": np.arange(9.0)})
    results.path(TASK).write_bytes(results.path(TASK).read_bytes()[:cut])
    assert not results.has(TASK)


def test_a_changed_value_does_not_count(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.save(TASK, {"x": np.arange(9.0)})
    content = bytearray(results.path(TASK).read_bytes())
    content[-3] ^= 1
    results.path(TASK).write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        results.load(TASK)


def test_another_key_does_not_count(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.save(TASK, {"x": np.arange(3)})
    other = Task(TASK.name, "cd34", TASK.arguments)
    assert not results.has(other)
    with pytest.raises(InputError, match="another setting"):
        results.load(other)
    write_arrays(results.path(TASK), {"x": np.arange(3)})  # a file of somebody else
    assert not results.has(TASK)


def test_a_failure_is_kept_until_the_task_succeeds(tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.record_failure(TASK, "ValueError: no")
    results.record_failure(Task("toy-002", "ab", ()), "TypeError: never")
    assert json.loads((tmp_path / "failures.json").read_text()) == Results(tmp_path).failures
    results.save(TASK, {"x": np.arange(3)})
    assert Results(tmp_path).failures == {"toy-002": "TypeError: never"}
    (tmp_path / "failures.json").write_text("[1]")
    with pytest.raises(InputError, match="failures"):
        _ = results.failures


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a\n"])
def test_a_name_is_the_stem_of_a_file(name: str) -> None:
    with pytest.raises(ValueError, match="stem"):
        Task(name, "ab", ())
