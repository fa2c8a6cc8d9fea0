"""Figures drawn by processes: the same images, without JAX, and whatever happens to a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import xarray as xr
from matplotlib.figure import Figure

from bayesxs.report.plots_density import total_cross_section_figure
from bayesxs.report.style import Plate, to_png
from bayesxs.runs import drawing
from bayesxs.runs.drawing import Drawers


def plain(title: str) -> Figure:
    figure = Plate(figsize=(2.0, 1.0))
    figure.subplots().set_title(title)
    return figure


FIGURES: dict[str, Callable[[], Figure]] = {
    name: lambda name=name: plain(name)  # type: ignore[misc]
    for name in ("one", "two", "three", "four", "five")
}

# In place of a run's own figures, those of FIGURES; the second one ends its process
WORKER = """
import os, sys
from types import ModuleType
sys.path.insert(0, {folder!r})
import test_drawing
stub = ModuleType("bayesxs.runs.figures")
def figures(folder):
    drawn = dict(test_drawing.FIGURES)
    if {fatal}:
        drawn["two"] = lambda: os._exit(1)
    return drawn.items()
stub.figures = figures
sys.modules["bayesxs.runs.figures"] = stub
import bayesxs.storage.run_folder as run_folder
run_folder.RunFolder.view = classmethod(lambda cls, path: path)
from bayesxs.runs import drawing
drawing.main()
"""


@pytest.mark.parametrize("fatal", [False, True])
def test_images_are_those_that_one_process_draws(
    fatal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = WORKER.format(folder=str(Path(__file__).parent), fatal=fatal)
    start = subprocess.Popen
    monkeypatch.setattr(drawing, "available_cores", lambda: 3)
    monkeypatch.setattr(
        drawing.subprocess, "Popen", lambda _, **kw: start([sys.executable, "-c", code], **kw)
    )
    seen: list[int] = []
    with Drawers(2) as drawers:
        drawers.start()
        images = drawers.draw(tmp_path, FIGURES, lambda number, _: seen.append(number))
        assert list(images) == list(FIGURES)
        assert images == {name: to_png(draw()) for name, draw in FIGURES.items()}
        assert seen == sorted(seen)


def test_a_process_that_was_killed_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "available_cores", lambda: 2)
    with Drawers() as drawers:
        drawers.start()
        (process,) = drawers._processes
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        images = drawers.draw(tmp_path, FIGURES, lambda *_: None)
    assert images == {name: to_png(draw()) for name, draw in FIGURES.items()}


def test_errors_of_figures_are_raised(tmp_path: Path) -> None:
    empty = {"total": lambda: total_cross_section_figure(xr.Dataset())}
    with Drawers(0) as drawers, pytest.raises(KeyError):
        drawers.draw(tmp_path, empty, lambda *_: None)


def test_processes_that_draw_do_without_jax() -> None:
    code = "import sys, bayesxs.runs.figures; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
