"""Paths inside a folder that somebody else may have made: no symbolic link below it is followed."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from bayesxs.errors import InputError

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# A pipe or a device in place of a file is refused, not waited for
_FILE: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class InnerPath(Path):
    """A path at or below a root, which paths made from it keep.

    The functions of this module, and so every reader and writer of `bayesxs.storage.atomic`, open
    it from the root on, part by part, each relative to the one before.
    """

    def __init__(self, *segments: str | os.PathLike[str], root: str | os.PathLike[str]) -> None:
        """Hold a path; the root itself may be reached through links, as the user's own choice."""
        super().__init__(*segments)
        self.root_folder = Path(root)

    def with_segments(self, *segments: str | os.PathLike[str]) -> InnerPath:
        """Return a path of the same root."""
        return type(self)(*segments, root=self.root_folder)

    def __reduce__(self) -> Any:
        """Travel to other processes as a plain path."""
        return Path, (str(self),)


def inner_root(path: str | os.PathLike[str]) -> InnerPath:
    """Return an absolute path that is a root itself."""
    absolute = Path(path).absolute()
    return InnerPath(absolute, root=absolute)


@contextmanager
def opened_parent(path: Path, *, create: bool = False) -> Iterator[int]:
    """Open the folder that holds a path, as a descriptor for the `dir_fd` of `os` functions.

    Args:
        path: of a file, or of a folder, that need not exist.
        create: make folders that are missing.

    Raises:
        InputError: a part of an inner path below its root is a symbolic link, or leads upwards.
        OSError: as `os.open` raises it, with the path.
    """
    root, parts = _parts(path)
    if create:
        root.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(root, _FOLDER)
    try:
        place = root
        for part in parts[:-1]:
            place /= part
            if create:
                _make(place, descriptor)
            inner = _open(place, _FOLDER | os.O_NOFOLLOW, descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def open_plain(path: Path, flags: int = os.O_RDONLY, mode: int = 0o666) -> int:
    """Open a plain file and return its descriptor.

    Args:
        path: inner, or of the user's own choice; links are followed in the latter.
        flags: of `os.open`.
        mode: of a file that is made.

    Raises:
        InputError: it is no plain file; a part of an inner path is a symbolic link.
        OSError: as `os.open` raises it, with the path.
    """
    if "\0" in str(path):
        raise InputError(f"{path}: no name of a file")
    if isinstance(path, InnerPath):
        with opened_parent(path) as parent:
            descriptor = _open(path, flags | _FILE, parent, mode)
    else:
        descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, mode)
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise InputError(f"{path}: no plain file")


def require_plain(path: Path) -> None:
    """Check that a file that a library is to open is a plain one, and not behind a link.

    Raises:
        InputError: it is not, or cannot be read.
    """
    try:
        os.close(open_plain(path))
    except OSError as error:
        raise InputError(f"{path}: cannot read: {error.strerror}") from None


def present(path: Path) -> bool:
    """Tell whether there is anything at a path, a link included.

    Raises:
        InputError: a folder on an inner path is a symbolic link.
    """
    try:
        with opened_parent(path) as parent:
            os.lstat(path.name, dir_fd=parent)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def remove(path: Path) -> None:
    """Remove a file, if it is there; of a link, the link.

    Raises:
        InputError: a folder on an inner path is a symbolic link.
    """
    with suppress(FileNotFoundError), opened_parent(path) as parent:
        os.unlink(path.name, dir_fd=parent)


def remove_folder(path: Path) -> None:
    """Remove a folder, if it is there and empty.

    Raises:
        InputError: a folder on an inner path is a symbolic link.
    """
    with suppress(OSError), opened_parent(path) as parent:
        os.rmdir(path.name, dir_fd=parent)


def entries(path: Path) -> list[str]:
    """Return the names in a folder, sorted; none if there is no folder.

    Raises:
        InputError: it is, or lies behind, a symbolic link.
    """
    try:
        with opened_parent(path / "any") as folder:
            return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InputError(f"{path}: cannot read the folder: {error.strerror}") from None


def _parts(path: Path) -> tuple[Path, tuple[str, ...]]:
    """Return from where on links are not followed, and the way from there."""
    if not isinstance(path, InnerPath):
        return path.parent, (path.name,)
    parts = path.relative_to(path.root_folder).parts
    if not parts or ".." in parts:
        raise InputError(f"{path}: not within {path.root_folder}")
    return path.root_folder, parts


def _make(path: Path, parent: int) -> None:
    """Make the last part of a path, a folder, if it is missing."""
    try:
        os.mkdir(path.name, dir_fd=parent)
    except FileExistsError:
        pass
    except OSError as error:
        error.filename = str(path)
        raise


def _open(path: Path, flags: int, parent: int, mode: int = 0o666) -> int:
    """Open the last part of a path relative to its folder, and no link."""
    try:
        return os.open(path.name, flags, mode, dir_fd=parent)
    except OSError as error:
        with suppress(OSError):
            if stat.S_ISLNK(os.lstat(path.name, dir_fd=parent).st_mode):
                line = "is a symbolic link: a run folder holds its files itself"
                raise InputError(f"{path}: {line}") from None
        error.filename = str(path)
        raise
