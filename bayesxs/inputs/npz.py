"""Arrays of numbers from NPZ files of anybody: no pickle, no size but the real one."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Final

import numpy as np
from numpy.lib import format as npy

from bayesxs.errors import InputError
from bayesxs.types import Floats

MAX_BYTES: Final = 64_000_000  # unpacked, all arrays together
MAX_ARRAYS: Final = 100
MAX_TEXT: Final = 100_000  # bytes of an array of texts
_MAX_HEADER: Final = 10_000
_SUFFIX: Final = ".npy"


def array_names(path: str | Path) -> list[str]:
    """Return the names of the arrays in an NPZ file.

    Raises:
        InputError: unreadable or damaged file, or too many of them.
    """
    with _archive(path, "an NPZ file") as archive:
        members = archive.infolist()
        if len(members) > MAX_ARRAYS:
            raise InputError.at(path, "arrays", len(members), f"at most {MAX_ARRAYS}")
        return [m.filename.removesuffix(_SUFFIX) for m in members if m.filename.endswith(_SUFFIX)]


def read_names(path: str | Path, name: str) -> list[str]:
    """Return the texts of a short array of texts in an NPZ file.

    Raises:
        InputError: unreadable file, no such array, or one of anything else.
    """
    allowed = f"an NPZ file whose array {name} is a short list of texts"
    with _archive(path, allowed) as archive:
        content = archive.read(_member(path, archive, name, MAX_TEXT))
        texts = np.load(io.BytesIO(content), allow_pickle=False)
        if texts.ndim != 1 or texts.dtype.kind != "U":
            raise InputError.at(path, f"{name}: dtype", texts.dtype, "a list of texts")
        return [str(text) for text in texts]


def read_arrays(path: str | Path, names: Sequence[str], limit: int = MAX_BYTES) -> list[Floats]:
    """Return the named arrays of real numbers in an NPZ file, as float64.

    What the file declares (sizes in the archive, shapes and types in the headers) is checked before
    anything of that size is made.

    Args:
        path: the file.
        names: of the arrays.
        limit: the most bytes, unpacked, of all arrays together.

    Raises:
        InputError: unreadable, damaged or too large a file, an array that is missing or holds
            anything but real numbers.
    """
    allowed = f"an NPZ file with the arrays {' and '.join(names)}"
    with _archive(path, allowed) as archive:
        _check_sizes(path, archive.infolist(), limit)
        contents = [archive.read(_member(path, archive, name, limit)) for name in names]
    return [
        _array(path, name, content, allowed) for name, content in zip(names, contents, strict=True)
    ]


@contextmanager
def _archive(path: str | Path, allowed: str) -> Iterator[zipfile.ZipFile]:
    """Open an NPZ file; whatever fails in reading it becomes one line."""
    try:
        with Path(path).open("rb") as stream, zipfile.ZipFile(stream) as archive:
            yield archive
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


def _member(path: str | Path, archive: zipfile.ZipFile, name: str, limit: int) -> zipfile.ZipInfo:
    members = {info.filename: info for info in archive.infolist()}
    info = members.get(f"{name}{_SUFFIX}")
    if info is None:
        held = ", ".join(sorted(m.removesuffix(_SUFFIX) for m in members)) or "(none)"
        raise InputError.at(path, "arrays", held, f"holds {name}")
    if info.file_size > limit:
        raise InputError.at(path, f"{name}: size", f"{info.file_size} bytes", f"at most {limit}")
    return info


def _check_sizes(path: str | Path, members: Sequence[zipfile.ZipInfo], limit: int) -> None:
    if len(members) > MAX_ARRAYS:
        raise InputError.at(path, "arrays", len(members), f"at most {MAX_ARRAYS}")
    size = sum(info.file_size for info in members)
    if size > limit:
        raise InputError.at(path, "unpacked size", f"{size} bytes", f"at most {limit}")


def _array(path: str | Path, name: str, content: bytes, allowed: str) -> Floats:
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
