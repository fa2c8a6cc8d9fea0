"""Mutated files are used or refused in one line, by every reader in `benchmarks/fuzz.py`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "fuzz.py"
SPEC = importlib.util.spec_from_file_location("bayesxs_fuzz", SCRIPT)
fuzz = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = fuzz  # dataclasses look their module up
SPEC.loader.exec_module(fuzz)


@pytest.mark.parametrize("name", fuzz.READERS)
def test_examples_are_read(name: str, tmp_path: Path) -> None:
    reader = fuzz.READERS[name]
    for example in reader.examples:
        path = tmp_path / f"input{reader.suffix}"
        path.write_bytes(example)
        assert reader.sane(reader.read(path))


@pytest.mark.parametrize("name", fuzz.READERS)
def test_mutated_files_are_used_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    assert [found for found, _ in fuzz.search(name, 60, 1, tmp_path)] == []


def test_the_search_sees_faults(tmp_path: Path) -> None:
    def read(path: Path) -> float:
        return float(path.read_text())

    reader = fuzz.Reader(".txt", (b"1.5",), read, lambda value: value < 2.0)
    path = tmp_path / "input.txt"
    for content, expected in (("1.5", ""), ("3", "nonsense accepted"), ("x", "traceback: ValueE")):
        path.write_text(content)
        assert fuzz.fault(reader, path).startswith(expected)
        assert bool(fuzz.fault(reader, path)) == bool(expected)
