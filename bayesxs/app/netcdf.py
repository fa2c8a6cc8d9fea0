"""NetCDF files of xarray data, written atomically."""

from __future__ import annotations

import io
from pathlib import Path

import xarray as xr

from bayesxs.atomic import write_bytes
from bayesxs.errors import InputError


def write_netcdf(path: Path, data: xr.Dataset | xr.DataTree) -> None:
    """Write a dataset or a tree whole.

    It is made in memory: HDF5 itself would meet a full disk with tracebacks from its destructors.
    """
    content = io.BytesIO()
    data.to_netcdf(content, engine="h5netcdf")
    write_bytes(path, content.getvalue())


def read_dataset(path: Path) -> xr.Dataset:
    """Read a whole dataset into memory.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        with xr.open_dataset(path, engine="h5netcdf") as data:
            return data.load()
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: not a readable netCDF file: {error}") from None


def read_tree(path: Path) -> xr.DataTree:
    """Read a whole tree into memory.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            return tree.load()
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: not a readable netCDF file: {error}") from None
