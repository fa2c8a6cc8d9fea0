"""The examples of runs and their functions, on a finished run."""

from __future__ import annotations

import doctest
import inspect
import shutil
from pathlib import Path

import pytest

import bayesxs as package


@pytest.mark.parametrize("name", ["Run", "run", "open_run"])
def test_examples_of_runs(
    name: str, card: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished, tmp_path / "runs" / "first")
    shutil.copyfile(card, tmp_path / "first.toml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=1")
    text = inspect.getdoc(getattr(package, name)) or ""
    test = doctest.DocTestParser().get_doctest(text, {"bayesxs": package}, name, name, 0)
    assert test.examples
    doctest.DebugRunner().run(test)
