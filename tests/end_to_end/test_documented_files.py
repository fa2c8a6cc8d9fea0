"""The page on files names all that a run leaves, and the figures of the site are drawn of it."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import xarray as xr

import bayesxs

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "reference" / "files.md"

# Written by xarray and ArviZ for themselves
COORDINATES = {"chain", "draw", "event", "replica", "slice_energy", "function"}


def test_the_page_names_what_a_run_leaves(finished: Path) -> None:
    words = set(re.findall(r"`([^`\s]+)`", PAGE.read_text()))
    # `figures/` and checkpoints hold many files each
    files = {path.name for path in finished.iterdir() if path.is_file()} - {".lock"}
    assert files <= words
    missing = set()
    for path in finished.glob("*.nc"):
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            for node in tree.subtree:
                names = {str(name) for name in node.to_dataset(inherit=False).variables}
                missing |= {
                    f"{path.name}{node.path}: {name}"
                    for name in names - COORDINATES - words
                    if not name.startswith("true_")
                }
    assert missing == set()


def test_the_figures_of_the_method_are_drawn(finished: Path) -> None:
    spec = importlib.util.spec_from_file_location("figures", DOCS / "figures.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    near = bayesxs.open_run(finished).near_detector
    for draw in (module.fluxes, module.nodes):
        for axes in draw(near).axes:
            assert axes.has_data()
