"""The page on the files of a run names every file, group and variable that a run leaves."""

from __future__ import annotations

import re
from pathlib import Path

import xarray as xr

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "files.md"

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
