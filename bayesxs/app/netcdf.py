"""NetCDF files of xarray data, written atomically."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from bayesxs.atomic import atomic_path
from bayesxs.errors import InputError


def write_netcdf(path: Path, data: xr.Dataset | xr.DataTree) -> None:
    """Write a dataset or a tree, compressed."""
    with atomic_path(path) as temporary:
        data.to_netcdf(temporary, engine="h5netcdf")


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
