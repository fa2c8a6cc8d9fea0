"""Damaged netCDF files: one line, whatever the libraries below would do with them."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

from bayesxs.errors import InputError
from bayesxs.storage import foreign
from bayesxs.storage.netcdf import (
    open_group,
    read_dataset,
    read_tree,
    second_level_groups,
    tree_writer,
    write_netcdf,
)


def tree() -> xr.DataTree:
    """Return what files of runs hold: draws, truth values, texts, attributes."""
    rng = np.random.default_rng(0)
    plane = ("chain", "draw")
    draws = xr.Dataset(
        {
            "dm31": (plane, rng.normal(size=(2, 30))),
            "diverging": (plane, rng.random((2, 30)) > 0.5),
            "nuisance": ((*plane, "name"), rng.normal(size=(2, 30, 2))),
        },
        {"chain": [0, 1], "draw": np.arange(30), "name": ["a", "bb"]},
        {"created_at": "now", "mle": 1.5},
    )
    constants = xr.Dataset({"edges": ("edge", np.arange(4.0)), "true_dm31": 2.5e-3})
    groups = {"events/posterior": draws, "events/constant_data": constants}
    return xr.DataTree.from_dict(groups)


@pytest.fixture(scope="module", params=["at once", "in parts"])
def content(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "x.nc"
    if request.param == "at once":
        write_netcdf(path, tree())
    else:
        with tree_writer(path) as writer:
            writer.write_tree(tree())
    return path.read_bytes()


def line(path: Path, read: Callable[[Path], object] = read_tree) -> str:
    with pytest.raises(InputError) as caught:
        read(path)
    found = str(caught.value)
    assert found.isprintable()
    assert len(found) <= 300
    return found


def read_all(path: Path) -> None:
    """Read a file in every way in which runs do."""
    for group in second_level_groups(path):
        with open_group(path, group) as data:
            for array in data.variables.values():
                _ = array.values
    read_tree(path)


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Return a content with a few bytes changed, moved or lost."""
    changed = bytearray(content)
    kind = rng.randrange(6)
    for _ in range(rng.choice([1, 1, 2, 8])):
        at = rng.randrange(len(changed))
        if kind == 0:
            changed[at] = rng.randrange(256)
        elif kind == 1:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            changed[at : at + 8] = bytes(8)
        elif kind == 3:
            changed[at : at + 8] = b"\xff" * 8
        elif kind == 4:
            other, length = rng.randrange(len(changed)), rng.randrange(1, 64)
            changed[at : at + length] = changed[other : other + length]
        else:
            del changed[at : at + rng.randrange(1, 200)]
    return bytes(changed)


def test_damaged_files_are_refused_or_read(content: bytes, tmp_path: Path) -> None:
    rng = random.Random(0)
    read, refused = 0, 0
    for number in range(40):
        path = tmp_path / f"{number}.nc"
        path.write_bytes(damaged(content, rng))
        try:
            read_all(path)
            read += 1
        except InputError as error:
            assert str(error).isprintable()
            refused += 1
        path.unlink()
    assert read
    assert refused


@pytest.mark.parametrize("name", ["70a3a3f2", "d30b9644", "fe842c2e", "e671cec5"])
def test_files_that_failed(name: str, reference: Path) -> None:
    path = reference / "cases" / "fuzz" / f"netcdf-{name}.nc"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    assert f"netcdf-{name}.nc: not a readable netCDF file: " in line(path)


def test_the_process_that_looks_goes_on_after_a_hang(reference: Path, tmp_path: Path) -> None:
    hang = reference / "cases" / "fuzz" / "netcdf-e671cec5.nc"
    if not hang.exists():
        pytest.skip(f"{hang} is not there")
    content = _written(tmp_path)
    for _ in range(2):
        assert "does not come to an end" in line(hang)
        (tmp_path / "copy.nc").write_bytes(content)
        xr.testing.assert_identical(read_tree(tmp_path / "copy.nc"), tree())


def _written(tmp_path: Path) -> bytes:
    write_netcdf(tmp_path / "own.nc", tree())
    return (tmp_path / "own.nc").read_bytes()


def external_link(file: h5py.File, secret: Path) -> None:
    file["events/more"] = h5py.ExternalLink(str(secret), "/events")


def soft_link(file: h5py.File, secret: Path) -> None:
    file["events/more"] = h5py.SoftLink("/events/posterior")


def external_values(file: h5py.File, secret: Path) -> None:
    file.create_dataset("more", (8,), "u1", external=[(str(secret), 0, 8)])


def virtual_values(file: h5py.File, secret: Path) -> None:
    layout = h5py.VirtualLayout((4,), "f8")
    layout[:] = h5py.VirtualSource(str(secret), "/events/constant_data/edges", (4,))
    file.create_virtual_dataset("more", layout)


def compressed_nothing(file: h5py.File, secret: Path) -> None:
    file.create_dataset("more", (10**11,), "f8", chunks=(10**6,), compression="gzip")


def unwritten(file: h5py.File, secret: Path) -> None:
    file.create_dataset("more", (10**11,), "f8")


def texts(file: h5py.File, secret: Path) -> None:
    file.create_dataset("more", (10**7,), h5py.string_dtype())


def other_filter(file: h5py.File, secret: Path) -> None:
    file.create_dataset("more", (10,), "f8", chunks=(10,), compression="lzf")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (external_link, "more: a link to elsewhere"),
        (soft_link, "more: a link to elsewhere"),
        (external_values, "more: its values lie in another file"),
        (virtual_values, "more: its values lie in another file"),
        (compressed_nothing, "bytes of compressed or missing values"),
        (unwritten, "bytes of compressed or missing values"),
        (texts, "more: 10000000 texts, at most 1000000"),
        (other_filter, "more: compressed with other filters than gzip"),
    ],
)
def test_files_that_reach_beyond_themselves(
    change: Callable[[h5py.File, Path], None], fault: str, tmp_path: Path
) -> None:
    secret, path = tmp_path / "secret.nc", tmp_path / "x.nc"
    write_netcdf(secret, tree())
    path.write_bytes(secret.read_bytes())
    with h5py.File(path, "a") as file:
        change(file, secret)
    for read in (read_tree, read_dataset, second_level_groups):
        found = line(path, read)
        assert found.startswith(f"{path}: not a readable netCDF file: ")
        assert fault in found


def test_compressed_files_of_users_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.nc"
    data = tree()["events/posterior"].to_dataset().drop_vars("name")
    encoding = {"dm31": {"zlib": True, "shuffle": True, "chunksizes": (2, 10)}}
    data.to_netcdf(path, engine="h5netcdf", encoding=encoding)
    xr.testing.assert_identical(read_dataset(path), data)


def test_a_file_is_looked_through_once_and_an_own_one_never(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []
    monkeypatch.setattr(foreign._checker, "fault_of", asked.append)
    content = _written(tmp_path)
    read_all(tmp_path / "own.nc")
    assert asked == []
    other = tmp_path / "other.nc"
    other.write_bytes(content)
    read_all(other)
    read_all(other)
    assert asked == [other]
    os.utime(other, (1, 1))
    read_tree(other)
    assert asked == [other, other]
