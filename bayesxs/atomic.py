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
from pathlib import Path
from typing import Any, Final

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from bayesxs.errors import InputError

_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# Libraries with their own writers report a full disk in words only.
_FULL_WORDS: Final = re.compile(r"no space left on device|file too large|disk quota exceeded", re.I)
_DENIED: Final = {errno.EACCES, errno.EPERM, errno.EROFS}
_PARTIAL: Final = re.compile(r"\.partial-[0-9a-f]{8}-.+")


@contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Give a temporary path beside `final`; move it there when the block ends well.

    The temporary name keeps the suffix, by which some writers choose the format. After the move the
    file is on the disk, not only in its cache. On any exception the temporary file is removed and
    `final` keeps its old content.

    Raises:
        InputError: the disk is full, or the folder cannot be written.
    """
    temporary = final.with_name(f".partial-{secrets.token_hex(4)}-{final.name}")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary)
        os.replace(temporary, final)
        with suppress(OSError):  # some network disks cannot flush a folder
            _flush(final.parent)
    except InputError:
        raise
    except Exception as error:
        if disk_is_full(error):
            raise InputError(
                f"{final}: disk full: the file was not written; free some space, then --resume"
            ) from error
        if isinstance(error, OSError) and error.errno in _DENIED and _concerns(error, temporary):
            raise InputError(f"{final}: cannot write: {error.strerror}") from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _concerns(error: OSError, temporary: Path) -> bool:
    return error.filename is not None and os.fspath(error.filename) in (
        str(temporary),
        str(temporary.parent),
    )


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


def is_partial(path: Path) -> bool:
    """Tell whether a file is a temporary one of `atomic_path`."""
    return _PARTIAL.fullmatch(path.name) is not None


def remove_partials(folder: Path) -> None:
    """Remove the temporary files that killed processes left in a folder or below it."""
    for path in folder.rglob(".partial-*"):
        if is_partial(path) and path.is_file():
            path.unlink(missing_ok=True)


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


def read_bytes(path: Path) -> bytes:
    """Read a file.

    Raises:
        InputError: it is missing, a folder, or unreadable.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot read: {error.strerror}") from None


def read_text(path: Path) -> str:
    """Read a UTF-8 text file.

    Raises:
        InputError: it cannot be read, or is not text.
    """
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file in UTF-8") from None


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        InputError: it cannot be read, or is not JSON (with the line).
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: line {error.lineno}: not JSON: {error.msg}") from None
    except RecursionError:
        raise InputError(f"{path}: not JSON of this package: nested too deep") from None


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read the arrays and the metadata of a safetensors file.

    Raises:
        InputError: it cannot be read, or is truncated or of another format.
    """
    content = read_bytes(path)
    try:
        arrays = safetensors.numpy.load(content)
        # The header is JSON behind its length in eight bytes; `load` has just checked it.
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    except (SafetensorError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a whole safetensors file: {reason}") from None
    return arrays, metadata


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
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot read: {error.strerror}") from None
