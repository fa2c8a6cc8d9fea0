"""Files that appear whole or not at all, and reads that say which file is at fault."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import math
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from bayesxs.errors import InputError, words
from bayesxs.storage.inner import InnerPath, open_plain, opened_parent

_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# Libraries with their own writers report a full disk in words only.
_FULL_WORDS: Final = re.compile(r"no space left on device|file too large|disk quota exceeded", re.I)
_DENIED: Final = {errno.EACCES, errno.EPERM, errno.EROFS}
# What is read into memory at once
MOST_JSON: Final = 100_000_000
MOST_HEADER: Final = 10_000_000
# Kinds of numbers that the package stores, as safetensors names them
_TYPES: Final = ("F64", "F32", "F16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL")
_PARTIAL: Final = re.compile(r"\.partial-[0-9a-f]{8}-.+")


@contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Give a temporary path beside `final`; move it there when the block ends well.

    The temporary name keeps the suffix, by which some writers choose the format. After the move the
    file is on the disk, not only in its cache. On any exception the temporary file is removed and
    `final` keeps its old content.

    Raises:
        InputError: the disk is full, or the folder cannot be written; a folder on an inner path is
            a symbolic link.
    """
    temporary = final.with_name(f".partial-{secrets.token_hex(4)}-{final.name}")
    try:
        with opened_parent(final, create=True) as folder:
            try:
                yield temporary
                _flush(temporary.name, folder)
                os.replace(temporary.name, final.name, src_dir_fd=folder, dst_dir_fd=folder)
            finally:
                with suppress(FileNotFoundError):
                    os.unlink(temporary.name, dir_fd=folder)
            with suppress(OSError):  # some network disks cannot flush a folder
                os.fsync(folder)
    except InputError:
        raise
    except Exception as error:
        if disk_is_full(error):
            raise InputError(
                f"{final}: disk full: the file was not written; free some space, "
                f"then {words().again} continues"
            ) from error
        if isinstance(error, OSError) and error.errno in _DENIED and _concerns(error, temporary):
            raise InputError(f"{final}: cannot write: {error.strerror}") from error
        raise


def _flush(name: str, folder: int) -> None:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _concerns(error: OSError, temporary: Path) -> bool:
    named = error.filename
    return isinstance(named, str) and Path(named) in (temporary, *temporary.parents)


def disk_is_full(error: BaseException) -> bool:
    """Tell whether an exception, or one that caused it, says that the disk or a quota is full."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _FULL:
            return True
        if isinstance(seen, OSError | RuntimeError | SafetensorError) and _FULL_WORDS.search(
            str(seen)
        ):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def is_partial(name: str) -> bool:
    """Tell whether a name is that of a temporary file of `atomic_path`."""
    return _PARTIAL.fullmatch(name) is not None


def remove_partials(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a folder or below it."""
    root = isinstance(folder, InnerPath) and folder.root_folder == folder
    top = folder.resolve() if root else folder  # the root alone may be a link
    for _, _, names, descriptor in os.fwalk(top, follow_symlinks=False):
        for name in names:
            if is_partial(name):
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=descriptor)


# --- writing --------------------------------------------------------------------------------------


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole; NumPy numbers and arrays become plain, NaN and infinity null."""
    write_text(path, json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(path: Path, columns: Mapping[str, Sequence[Any] | np.ndarray]) -> None:
    """Write columns of equal length as CSV with a header line; floats keep every digit."""
    lists = [np.asarray(column, dtype=object).tolist() for column in columns.values()]
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*lists, strict=True))


def write_arrays(
    path: Path, arrays: Mapping[str, Any], metadata: Mapping[str, str] | None = None
) -> None:
    """Write named arrays (anything `numpy.asarray` takes) and text metadata as safetensors."""
    ordered = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    # an empty table with no array would give a file that safetensors itself cannot read
    write_bytes(
        path, safetensors.numpy.save(ordered, metadata=dict(metadata) if metadata else None)
    )


def plain(value: Any) -> Any:
    """Return a value as JSON knows it: NumPy and JAX types plain, NaN and infinity None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # NumPy and JAX scalars and arrays
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


# --- reading --------------------------------------------------------------------------------------


@contextmanager
def open_input(path: Path) -> Iterator[BufferedReader]:
    """Open a plain file for reading.

    Raises:
        InputError: it is missing, a folder, a pipe or a device, or unreadable.
    """
    try:
        with os.fdopen(open_plain(path), "rb") as file:
            yield file
    except OSError as error:
        raise InputError(f"{path}: cannot read: {error.strerror}") from None


def read_bytes(path: Path, most: int | None = None) -> bytes:
    """Read a file.

    Args:
        path: of the file.
        most: bytes that it may have.

    Raises:
        InputError: it is missing, a folder, a pipe or a device, unreadable, or too large.
    """
    with open_input(path) as file:
        size = os.fstat(file.fileno()).st_size
        if most is not None and size > most:
            allowed = f"at most {most / 1e6:g} MB are read of such a file"
            raise InputError.at(path, "size", f"{size / 1e6:.6g} MB", allowed)
        return file.read()


def read_text(path: Path, most: int | None = None) -> str:
    """Read a UTF-8 text file of at most so many bytes.

    Raises:
        InputError: it cannot be read, is too large, or is not text.
    """
    try:
        return read_bytes(path, most).decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file in UTF-8") from None


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: it cannot be read, is not JSON (with the line), or holds what this package does
            not write: deep nesting, a number beyond 64 bits, NaN or infinity.
    """
    return parse_json(path, read_text(path, MOST_JSON))


def parse_json(source: object, text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        InputError: as `read_json`.
    """

    def whole(digits: str) -> int:
        if len(digits) > 20 or not -(2**63) <= int(digits) < 2**64:
            raise InputError.at(source, "integer", digits, "of at most 64 bits")
        return int(digits)

    def real(digits: str) -> float:
        if not math.isfinite(value := float(digits)):
            raise InputError.at(source, "number", digits, "of at most 1.8e308")
        return value

    def refuse(name: str) -> Any:
        raise InputError.at(source, "number", name, "finite, or null")

    try:
        return json.loads(text, parse_int=whole, parse_float=real, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise InputError(f"{source}: line {error.lineno}: not JSON: {error.msg}") from None
    except RecursionError:
        raise InputError(f"{source}: not JSON of this package: nested too deep") from None


def read_arrays(
    path: Path, most: int | None = None
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read the arrays and the metadata of a safetensors file.

    Args:
        path: of the file.
        most: bytes that it may have.

    Raises:
        InputError: it cannot be read, is too large, or is truncated or of another format.
    """
    content = read_bytes(path, most)
    metadata = _metadata(path, content)
    try:
        return safetensors.numpy.load(content), metadata
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _no_arrays(path, str(error)) from None


def _metadata(path: Path, content: bytes) -> dict[str, str]:
    """Check the header of a safetensors file, JSON behind its length; return the text in it.

    The library checks offsets and sizes itself, but repeats a damaged header in its messages.
    """
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or length > min(len(content) - 8, MOST_HEADER):
        raise _no_arrays(path, f"a header of {length} bytes in a file of {len(content)}")
    try:
        text = content[8 : 8 + length].decode("utf-8")
    except UnicodeDecodeError:
        raise _no_arrays(path, "the header is no text") from None
    header = parse_json(path, text)
    if not isinstance(header, dict):
        raise _no_arrays(path, "the header is no table")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _no_arrays(path, "__metadata__ is no table of texts")
    for name, entry in header.items():
        kind = entry.get("dtype") if isinstance(entry, dict) else None
        if kind not in _TYPES:
            allowed = f"an array of one of {', '.join(_TYPES)}"
            raise InputError.at(path, name, entry if kind is None else kind, allowed)
    return metadata


def _no_arrays(path: Path, reason: str) -> InputError:
    return InputError(f"{path}: not a whole safetensors file: {' '.join(reason.split())}")


def arrays_sha256(arrays: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of arrays' names, types, shapes and values in hexadecimal."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")
        digest.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal.

    Raises:
        InputError: the file cannot be read.
    """
    with open_input(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
