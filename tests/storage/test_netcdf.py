"""Files written in parts: what xarray reads back, flat memory, full disks."""

from __future__ import annotations

import resource
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from bayesxs.errors import InputError
from bayesxs.storage.netcdf import (
    open_group,
    read_tree,
    second_level_groups,
    tree_writer,
    write_netcdf,
)

RNG = np.random.default_rng(0)


def part(draws: int, first: int = 0, chain: int = 0, chains: int = 2) -> xr.Dataset:
    """Return a few draws of what posteriors hold: numbers, truth values, named columns."""
    plane = ("chain", "draw")
    return xr.Dataset(
        {
            "dm31": (plane, RNG.normal(size=(chains, draws))),
            "diverging": (plane, RNG.random((chains, draws)) > 0.5),
            "nuisance": ((*plane, "nuisance_name"), RNG.normal(size=(chains, draws, 3))),
        },
        {
            "chain": chain + np.arange(chains),
            "draw": first + np.arange(draws),
            "nuisance_name": ["a", "bb", "c"],
        },
        {"created_at": "now", "mle": 1.5},
    )


def test_parts_make_the_whole(tmp_path: Path) -> None:
    rows = [[part(n, first, chain) for n, first in ((10, 0), (7, 10))] for chain in (0, 2)]
    other = xr.Dataset({"edges": ("edge", np.arange(4.0, dtype=np.float32)), "truth": 2.5e-3})
    with tree_writer(tmp_path / "x.nc") as writer:
        for row in rows:
            for piece in row:
                writer.write(
                    "events/posterior",
                    piece,
                    sizes={"chain": 4, "draw": 17},
                    at={"chain": int(piece.chain[0]), "draw": int(piece.draw[0])},
                )
        writer.write("events/constant_data", other)
        writer.write("/", xr.Dataset(attrs={"source": "simulated"}))
    tree = read_tree(tmp_path / "x.nc")
    whole = xr.concat([xr.concat(row, "draw") for row in rows], "chain")
    assert tree.attrs == {"source": "simulated"}
    xr.testing.assert_identical(tree["events/posterior"].to_dataset(), whole)
    xr.testing.assert_identical(tree["events/constant_data"].to_dataset(), other)
    assert second_level_groups(tmp_path / "x.nc") == ["events/posterior", "events/constant_data"]
    few = read_tree(tmp_path / "x.nc", draws=5)
    assert list(few["events/posterior"].draw.values) == [0, 4, 8, 12, 16]
    xr.testing.assert_identical(few["events/constant_data"].to_dataset(), other)
    # The file is that of all at once, in this way of writing and in xarray's
    with tree_writer(tmp_path / "y.nc") as writer:
        writer.write_tree(tree)
    write_netcdf(tmp_path / "z.nc", tree)
    for name in ("y.nc", "z.nc"):
        xr.testing.assert_identical(read_tree(tmp_path / name), tree)


def test_the_same_parts_are_the_same_bytes(tmp_path: Path) -> None:
    data = part(20)
    for name in ("x.nc", "y.nc"):
        with tree_writer(tmp_path / name) as writer:
            writer.write("events/posterior", data)
    assert (tmp_path / "x.nc").read_bytes() == (tmp_path / "y.nc").read_bytes()


def test_a_copy_takes_a_block_of_memory(tmp_path: Path) -> None:
    draws = 300_000
    with tree_writer(tmp_path / "x.nc") as writer:
        for first in range(0, draws, 10_000):
            piece = part(10_000, first)
            writer.write("all/posterior", piece, sizes={"draw": draws}, at={"draw": first})
    with open_group(tmp_path / "x.nc", "all/posterior") as data:
        tracemalloc.start()
        with tree_writer(tmp_path / "y.nc") as writer:
            writer.write("all/posterior", data)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # The column of three names alone is 14.4 MB; nothing is kept once it is copied
        assert peak < 18_000_000
        assert sum(array.nbytes for array in data.values()) > 19_000_000
    xr.testing.assert_identical(read_tree(tmp_path / "x.nc"), read_tree(tmp_path / "y.nc"))


@contextmanager
def file_size(limit: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size in bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("space", [0, 100, 3_000, 40_000, 130_000])
def test_a_full_disk_is_one_line(
    space: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.nc"
    path.write_bytes(b"before")

    def write() -> None:
        with tree_writer(path) as writer:
            for first in range(0, 2000, 100):
                writer.write("a/b", part(100, first), sizes={"draw": 2000}, at={"draw": first})

    with file_size(space), pytest.raises(InputError) as refused:
        write()
    assert str(refused.value) == (
        f"{path}: disk full: the file was not written; free some space, "
        "then running again continues"
    )
    # ... and HDF5 says nothing of its own, now or when its objects are collected
    del refused
    assert capfd.readouterr() == ("", "")
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.nc"]
    assert path.read_bytes() == b"before"
    write()
    assert read_tree(path)["a/b"].sizes["draw"] == 2000


def test_files_that_cannot_be_opened_are_named(tmp_path: Path) -> None:
    (tmp_path / "x.nc").write_bytes(b"no")
    for name, fault in (("x.nc", "not a readable netCDF file"), ("absent.nc", "cannot read: No")):
        for read in (read_tree, second_level_groups):
            with pytest.raises(InputError, match=f"{name}: {fault}"):
                read(tmp_path / name)
        with (
            pytest.raises(InputError, match=f"{name}: {fault}"),
            open_group(tmp_path / name, "a/b"),
        ):
            pass
