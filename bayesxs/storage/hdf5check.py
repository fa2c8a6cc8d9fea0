"""Look through HDF5 files in a process of its own: a damaged one can hold the library for good.

Read paths, one JSON text a line, and answer each with a line: null, or what is wrong with the file.
Nothing of this package is imported here, which keeps the start short.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from collections.abc import Iterator
from typing import Any, Final

import h5netcdf
import h5py

CPU_S: Final = 1.0  # for one file; the largest of a run takes a tenth of it
MEMORY: Final = 4_000_000_000
# Of what does not lie in the file as it is, compressed or never written, bytes and texts
MOST_BYTES: Final = 1_000_000_000
MOST_TEXTS: Final = 1_000_000
_FILTERS: Final = {
    h5py.h5z.FILTER_DEFLATE,
    h5py.h5z.FILTER_SHUFFLE,
    h5py.h5z.FILTER_FLETCHER32,
}


def fault_of(path: str) -> str | None:
    """Return what is wrong with a file, None if nothing is.

    Whatever reading it later may ask of the library is asked here: links, dimensions, attributes,
    and the values that do not lie in the file as plain numbers.
    """
    try:
        with h5py.File(path, "r") as file:
            size = file.id.get_filesize()
            lazy = 0
            for name, dataset in _datasets(file):
                if dataset.external or dataset.is_virtual:
                    return f"{name}: its values lie in another file"
                plan = dataset.id.get_create_plist()
                filters = {plan.get_filter(k)[0] for k in range(plan.get_nfilters())}
                if not filters <= _FILTERS:
                    return f"{name}: compressed with other filters than gzip"
                if dataset.dtype.kind == "O" and dataset.size > MOST_TEXTS:
                    return f"{name}: {dataset.size} texts, at most {MOST_TEXTS}"
                if dataset.chunks is None and dataset.id.get_offset() is not None:
                    if dataset.nbytes > size:
                        return f"{name}: {dataset.nbytes} bytes in a file of {size}"
                else:
                    lazy += dataset.nbytes
            if lazy > MOST_BYTES:
                return f"{lazy} bytes of compressed or missing values, at most {MOST_BYTES}"
        with h5netcdf.File(path, "r") as file:
            _read(file)
    except Exception as error:
        return " ".join(f"{error}".split()) or type(error).__name__
    return None


def _datasets(group: h5py.Group) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yield the datasets of a group and of those below it.

    Raises:
        ValueError: there is a link that may lead to another file, or something else.
    """
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{name}: a link to elsewhere")
        found = group[name]
        if isinstance(found, h5py.Group):
            yield from _datasets(found)
        elif isinstance(found, h5py.Dataset):
            yield name, found
        else:
            raise ValueError(f"{name}: neither a group nor an array")


def _read(group: h5netcdf.Group) -> None:
    dict(group.attrs)
    for dimension in group.dimensions.values():
        int(dimension.size)
    for variable in group.variables.values():
        dict(variable.attrs)
        plain = variable.dtype is not str and variable.dtype.kind in "biuf"
        if not plain or variable.chunks is not None:
            variable[...]
        len(variable.dimensions)
    for inner in group.groups.values():
        _read(inner)


def serve() -> None:
    """Answer until the input ends; a file that takes too long ends the process."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    for line in sys.stdin:
        path: Any = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, CPU_S)
        fault = fault_of(path)
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        print(json.dumps(fault), flush=True)


if __name__ == "__main__":
    serve()
