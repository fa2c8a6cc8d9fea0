"""Arrays of numbers from NPZ files of anybody: no pickle, no size but the real one."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from bayesxs.errors import InputError

MAX_BYTES: Final = 64_000_000  # unpacked, all arrays together
MAX_ARRAYS: Final = 100
_MAX_HEADER: Final = 10_000
_SUFFIX: Final = ".npy"


def read_arrays(path: str | Path, names: Sequence[str]) -> list[NDArray[np.float64]]:
    """Return the named arrays of real numbers in an NPZ file, as float64.

    What the file declares (sizes in the archive, shapes and types in the headers) is checked before
    anything of that size is made.

    Raises:
        InputError: unreadable, damaged or too large a file, an array that is missing or holds
            anything but real numbers.
    """
    allowed = f"an NPZ file with the arrays {' and '.join(names)}"
    try:
        with Path(path).open("rb") as stream, zipfile.ZipFile(stream) as archive:
            members = {info.filename.removesuffix(_SUFFIX): info for info in archive.infolist()}
            _check_sizes(path, archive.infolist())
            for name in names:
                if name not in members or not members[name].filename.endswith(_SUFFIX):
                    held = ", ".join(sorted(members)) or "(none)"
                    raise InputError.at(path, "arrays", held, f"holds {name}")
            contents = [archive.read(members[name]) for name in names]
    except InputError:
        raise
    except OSError as error:
        reason = error.strerror or "not a complete file"
        raise InputError(f"{path}: cannot be read: {reason}: expected {allowed}") from None
    except (ValueError, TypeError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error):
        raise InputError(f"{path}: cannot be read: expected {allowed} of numbers") from None
    except Exception as error:  # other compressions have exceptions of their own
        reason = type(error).__name__
        raise InputError(f"{path}: cannot be read: {reason}: expected {allowed}") from None
    return [
        _array(path, name, content, allowed) for name, content in zip(names, contents, strict=True)
    ]


def _check_sizes(path: str | Path, members: Sequence[zipfile.ZipInfo]) -> None:
    if len(members) > MAX_ARRAYS:
        raise InputError.at(path, "arrays", len(members), f"at most {MAX_ARRAYS}")
    size = sum(info.file_size for info in members)
    if size > MAX_BYTES:
        raise InputError.at(path, "unpacked size", f"{size} bytes", f"at most {MAX_BYTES}")


def _array(path: str | Path, name: str, content: bytes, allowed: str) -> NDArray[np.float64]:
    stream = io.BytesIO(content)
    try:
        version = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran_order, dtype = read(stream, max_header_size=_MAX_HEADER)
    except Exception:  # the header is parsed as Python, which fails in many ways
        raise InputError(f"{path}: cannot be read: expected {allowed} of numbers") from None
    if dtype.hasobject:
        raise InputError(f"{path}: cannot be read: expected {allowed} of numbers")
    if dtype.kind not in "fiu":
        raise InputError.at(path, f"{name}: dtype", dtype, "real numbers")
    data = content[stream.tell() :]
    if any(side < 0 for side in shape) or prod(shape) * dtype.itemsize != len(data):
        wanted = f"as many elements as the file holds: {len(data) // dtype.itemsize}"
        raise InputError.at(path, f"{name}: shape", shape, wanted)
    values = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran_order else "C")
    with np.errstate(over="ignore"):  # beyond float64 is infinite, which checks refuse
        return values.astype(np.float64)
