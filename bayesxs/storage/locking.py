"""Checks before a run folder is opened, and the lock that one process at a time holds."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from bayesxs.errors import InputError, words
from bayesxs.storage.atomic import is_partial
from bayesxs.storage.inner import InnerPath, entries, inner_root, open_plain, present, require_plain
from bayesxs.storage.manifest import CONFIG, MANIFEST

LOCK: Final = ".lock"
CHECKPOINTS: Final = "checkpoints"


def holds_run(folder: Path, resume: bool) -> bool:
    """Tell whether an existing folder holds a run; refuse one that `RunFolder.create` cannot use.

    Raises:
        InputError: it holds a run and `resume` is off, or it holds other files.
    """
    if os.path.lexists(folder / MANIFEST):
        if not resume:
            allowed = f"{words().again} continues it, {words().out} chooses another folder"
            raise InputError(f"{folder}: already holds a run: {allowed}")
        return True
    # A process killed while creating the folder leaves its lock and temporary files
    if any(name != LOCK and not is_partial(name) for name in _entries(folder)):
        raise InputError(f"{folder}: not empty and no run folder: {words().out} takes a new folder")
    return False


def _entries(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot read the folder: {error.strerror}") from None


def require_run(path: str | os.PathLike[str]) -> InnerPath:
    """Return the folder of an existing run.

    Raises:
        InputError: there is no folder, or it holds no run.
    """
    folder = inner_root(path)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder: give the folder of a run")
    if not os.path.lexists(folder / MANIFEST):
        raise InputError(f"{folder}: holds no run ({MANIFEST} is missing)")
    return folder


def require_own_files(folder: InnerPath, outputs: Iterable[str] = ()) -> None:
    """Check that what a run keeps in its folder are plain files, before any of them is touched.

    Raises:
        InputError: a file or a folder of it is a symbolic link, a pipe or a device.
    """
    for name in (MANIFEST, CONFIG, *outputs):
        if present(folder / name):
            require_plain(folder / name)
    for stage in entries(folder / CHECKPOINTS):
        for name in entries(folder / CHECKPOINTS / stage):
            require_plain(folder / CHECKPOINTS / stage / name)


def acquire(folder: InnerPath) -> int:
    """Lock the folder for this process, without waiting; return the lock's file descriptor.

    Raises:
        InputError: another process holds it; the folder cannot be written; the lock is no plain
            file of its own.
    """
    path = folder / LOCK
    try:
        descriptor = open_plain(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise InputError(f"{folder}: cannot write in the folder: {error.strerror}") from None
    if os.fstat(descriptor).st_nlink > 1:
        os.close(descriptor)
        raise InputError(f"{path}: has other names elsewhere (hard links): delete it")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise InputError(
            f"{folder}: another process (pid {holder}) writes in this folder: wait for it, "
            f"or choose another {words().out}"
        ) from None
    except OSError as error:
        os.close(descriptor)
        raise InputError(
            f"{folder}: cannot lock the folder: {error.strerror}: "
            f"choose a folder on another disk with {words().out}"
        ) from None
    with suppress(OSError):  # the process number only serves the message above
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
