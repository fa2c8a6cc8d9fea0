"""NetCDF files of xarray data, written atomically: at once, or part by part in flat memory."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import h5netcdf
import h5py
import numpy as np
import xarray as xr

from bayesxs.errors import InputError
from bayesxs.storage.atomic import atomic_path, write_bytes
from bayesxs.storage.foreign import require_readable, trust

# Of a dataset that lies in a file so many bytes are copied at once
BLOCK_BYTES: Final = 16_000_000


def write_netcdf(path: Path, data: xr.Dataset | xr.DataTree) -> None:
    """Write a dataset or a tree whole.

    It is made in memory: HDF5 itself would meet a full disk with tracebacks from its destructors.
    """
    content = io.BytesIO()
    data.to_netcdf(content, engine="h5netcdf")
    write_bytes(path, content.getvalue())
    trust(path)


def read_dataset(path: Path) -> xr.Dataset:
    """Read a whole dataset into memory.

    Raises:
        InputError: the file is missing or damaged.
    """
    require_readable(path)
    try:
        with xr.open_dataset(path, engine="h5netcdf") as data:
            return data.load()
    except Exception as error:  # whatever a foreign file makes the libraries raise
        raise _unreadable(path, error) from None


def read_tree(path: Path, draws: int | None = None, without: Collection[str] = ()) -> xr.DataTree:
    """Read a tree into memory.

    Args:
        path: of the file.
        draws: of longer chains about so many draws, evenly spaced.
        without: groups and variables to leave out, such as "/prior" and "/posterior/dm31".

    Raises:
        InputError: the file is missing or damaged.
    """

    def thinned(data: xr.Dataset) -> xr.Dataset:
        if draws is None or data.sizes.get("draw", 0) <= draws:
            return data
        return data.isel(draw=slice(None, None, -(-data.sizes["draw"] // draws)))

    require_readable(path)
    try:
        with xr.open_datatree(path, engine="h5netcdf", cache=False) as tree:
            nodes = {n.path: n.to_dataset(inherit=False) for n in tree.subtree}
            kept = {
                group: thinned(
                    data.drop_vars([v for v in data.data_vars if f"{group}/{v}" in without])
                ).load()
                for group, data in nodes.items()
                if group not in without
            }
            return xr.DataTree.from_dict(kept)
    except Exception as error:  # whatever a foreign file makes the libraries raise
        raise _unreadable(path, error) from None


@contextmanager
def open_group(path: Path, group: str) -> Iterator[xr.Dataset]:
    """Open a group of a file; its variables are read whenever their values are asked for.

    Raises:
        InputError: the file is missing or damaged, or has no such group.
    """
    require_readable(path)
    try:
        data = xr.open_dataset(path, engine="h5netcdf", group=group, cache=False)
    except Exception as error:  # whatever a foreign file makes the libraries raise
        raise _unreadable(path, error) from None
    with data:
        yield data


def second_level_groups(path: Path) -> list[str]:
    """List the groups below the groups of a file, e.g. "events_truth/posterior".

    Raises:
        InputError: the file is missing or damaged.
    """
    require_readable(path)
    try:
        with h5netcdf.File(path, "r") as file:
            return [f"{above}/{name}" for above in file.groups for name in file[above].groups]
    except Exception as error:  # whatever a foreign file makes the libraries raise
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return InputError(f"{path}: not a readable netCDF file: {reason}")


class TreeWriter:
    """A netCDF file in the making, to which datasets are written in parts."""

    def __init__(self, file: h5netcdf.File, disk: _PatientFile) -> None:
        """Hold an open file; `tree_writer` makes it."""
        self._file = file
        self._disk = disk

    def write(
        self,
        group: str,
        data: xr.Dataset,
        *,
        sizes: Mapping[str, int] | None = None,
        at: Mapping[str, int] | None = None,
    ) -> None:
        """Write a dataset, or a part of one, a block of draws at a time.

        Args:
            group: where, e.g. "events_truth/posterior".
            data: the part, in memory or in a file.
            sizes: lengths of the whole along the dimensions of which this is a part.
            at: where the part begins along them; 0 along those that are not named.
        """
        place = self._group(group)
        place.attrs.update(data.attrs)
        for name, size in data.sizes.items():
            if name not in place.dimensions:
                place.dimensions[str(name)] = (sizes or {}).get(str(name), size)
        for name, array in data.variables.items():
            if name not in place.variables:
                _create(place, str(name), array)
            start = {dim: (at or {}).get(str(dim), 0) for dim in array.dims}
            for block in _blocks(array):
                where = tuple(
                    slice(start[dim] + block[dim].start, start[dim] + block[dim].stop)
                    for dim in array.dims
                )
                values = array.isel(block).values
                place.variables[str(name)][where or ...] = (
                    values.astype(np.int8) if values.dtype.kind == "b" else values
                )
                self._disk.check()

    def write_tree(self, tree: xr.DataTree) -> None:
        """Write every group of a tree."""
        for node in tree.subtree:
            self.write(node.path, node.to_dataset(inherit=False))

    def _group(self, path: str) -> h5netcdf.Group:
        place = self._file
        for name in filter(None, path.split("/")):
            place = place.groups[name] if name in place.groups else place.create_group(name)
        return place


@contextmanager
def tree_writer(path: Path) -> Iterator[TreeWriter]:
    """Make a netCDF file part by part; it appears whole when the block ends well.

    Raises:
        InputError: the disk is full, or the folder cannot be written.
    """
    with atomic_path(path) as temporary, _PatientFile(temporary, "w+") as disk:
        try:
            with h5netcdf.File(disk, "w") as file:
                yield TreeWriter(file, disk)
        finally:
            disk.check()  # whatever else HDF5 says of it
    trust(path)


class _PatientFile(io.FileIO):
    """A file that swallows what cannot be written, and keeps the error for `check`.

    HDF5 itself would meet a full disk with tracebacks from its destructors.
    """

    _failure: OSError | None = None

    def check(self) -> None:
        """Raise the first error that there was."""
        if self._failure is not None:
            raise self._failure

    def write(self, data: Any) -> int:
        """Write all of it, or nothing more from the first error on."""
        rest = whole = memoryview(data).cast("B")
        try:
            while rest and self._failure is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self._failure = error
        return len(whole)

    def truncate(self, size: int | None = None) -> int:
        """Set the length, unless there was an error."""
        try:
            if self._failure is None:
                return super().truncate(size)
        except OSError as error:
            self._failure = error
        return size or 0

    def readinto(self, buffer: Any) -> int:
        """Read; what was not written is zero."""
        whole = memoryview(buffer).cast("B")
        found = super().readinto(whole) or 0
        whole[found:] = bytes(len(whole) - found)
        return len(whole)


def _create(place: h5netcdf.Group, name: str, array: xr.Variable) -> None:
    """Create a variable as xarray writes it: booleans are bytes that say so, texts are UTF-8."""
    kind = array.dtype
    attributes = dict(array.attrs)
    if kind.kind == "b":
        kind, attributes["dtype"] = np.dtype(np.int8), "bool"
    elif kind.kind in "OTU":
        kind = h5py.string_dtype()
    place.create_variable(name, tuple(map(str, array.dims)), kind)
    place.variables[name].attrs.update(attributes)


def _blocks(array: xr.Variable) -> Iterator[dict[Any, slice]]:
    """Cut an array along its draws into pieces of at most `BLOCK_BYTES`."""
    whole = {dim: slice(0, size) for dim, size in array.sizes.items()}
    if "draw" not in whole:
        yield whole
        return
    draws = array.sizes["draw"]
    step = max(1, BLOCK_BYTES * draws // max(1, array.nbytes))
    for first in range(0, draws, step):
        yield whole | {"draw": slice(first, min(first + step, draws))}
