"""The notebooks run from top to bottom on tiny analyses, and show larger ones as they are stored.

A notebook opens the run that BAYESXS_RUN names, or makes its own from the card BAYESXS_CARD, below
the folder in which it works.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))

# Warm-up and draws where nuisances are sampled, up to six times over
SHORT = """
warmup = 20
draws = 20
"""


@contextmanager
def one_core() -> Iterator[None]:
    """Give the processes that are started one core: a campaign then has one worker that compiles.

    Another worker would compile the same programs at the same time.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


# Smaller numbers that no card has. Of few modes of the cross section the posterior has short trees
FEWER = {
    "02_systematics": {r"\"laplace\"": r"\"laplace\", \"uncertainty.modes\": 3"},
    "04_own_model": {
        "gauss_newton_steps=20": "gauss_newton_steps=2",
        "num_warmup=500, num_samples=1000": "num_warmup=20, num_samples=20",
        "Grid(3, 40, 40, 24, 24)": "Grid(1, 12, 12, 12, 12)",
        "num_samples=200": "num_samples=10",
        "events=6200": "events=200",
    },
    "06_four_samples": {
        r"\"warmup\": 200, \"draws\": 400": r"\"warmup\": 20, \"draws\": 20",
        "num_warmup=200, num_samples=600": "num_warmup=20, num_samples=20",
        r"\"scan.dcp_values\": 13": r"\"scan.dcp_values\": 3",
    },
    "03_calibration": {
        r"\"experiments\": 20, \"batch\": 10": r"\"experiments\": 14, \"batch\": 4",
        r"\"thin\": 5": r"\"thin\": 2",
        "[3.0, 10.0, 30.0, 100.0]": "[3.0, 30.0]",
    },
    "05_generators": {
        "number = 200_000": "number = 12_000",
        r"\"gaussian_process\"": r"\"gaussian_process\", \"uncertainty.modes\": 3",
    },
}


# Finished campaigns that a notebook goes on with, by the folder in which it would make them
CAMPAIGNS = {
    "03_calibration": {"notebook-sbc": "sbc", "notebook-sensitivity": "sensitivity"},
}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(
    path: Path,
    card: Path,
    finished: Path,
    campaigned: Callable[[str], Path],
    compiling: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if path.stem in ("02_systematics", "05_generators"):
        short = tmp_path / "short.toml"
        short.write_text(card.read_text().replace("\nwarmup = 200\ndraws = 200\n", SHORT))
        card = short
    environment = compiling | {"BAYESXS_RUN": str(finished), "BAYESXS_CARD": str(card)}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    text = path.read_text()
    for large, small in FEWER.get(path.stem, {}).items():
        assert large in text
        text = text.replace(large, small)
    for name, kind in CAMPAIGNS.get(path.stem, {}).items():
        shutil.copytree(campaigned(kind), tmp_path / "bayesxs-runs" / name)
    notebook = nbformat.reads(text, as_version=4)
    with one_core():
        NotebookClient(notebook, timeout=900, resources={"metadata": {"path": tmp_path}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 4


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_stored_outputs_are_small_and_name_no_machine(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not any(output.output_type == "error" for output in outputs)
    assert not any(output.get("name") == "stderr" for output in outputs)
    written = path.read_text()
    assert len(written) < 500_000
    assert not re.search(r"(?<![\w+/])/(home|root|work|tmp|Users)/", written)
