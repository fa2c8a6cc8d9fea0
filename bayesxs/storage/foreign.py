"""Trust in files of arrays that another process may have written, before a library opens them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

from bayesxs.errors import InputError
from bayesxs.storage.inner import require_plain

_CHECK: Final = Path(__file__).with_name("hdf5check.py")
_WAIT_S: Final = 60.0  # a disk may be slow; the time of computing is bounded by the process itself


class _Checker:
    """A process that looks through files, started when the first one is to be read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = 0
        self._process: subprocess.Popen[str] | None = None

    def fault_of(self, path: Path) -> str | None:
        """Return what is wrong with a file, None if nothing is."""
        with self._lock:
            process = self._running()
            assert process.stdin is not None
            assert process.stdout is not None
            patience = threading.Timer(_WAIT_S, process.kill)
            patience.start()
            try:
                process.stdin.write(json.dumps(str(path)) + "\n")
                process.stdin.flush()
                answer = process.stdout.readline()
            except BrokenPipeError:
                answer = ""
            finally:
                patience.cancel()
            if answer:
                fault: str | None = json.loads(answer)
                return fault
            self._end()
            return "damaged: the library does not come to an end with it"

    def _running(self) -> subprocess.Popen[str]:
        # After a fork the process answers to the parent
        if self._process is None or self._owner != os.getpid():
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(_CHECK)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,  # a Ctrl-C is not meant for it
            )
            self._owner = os.getpid()
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            with self._process:  # closes the pipes and waits
                self._process = None


_checker: Final = _Checker()
_trusted: Final[set[tuple[int, int, int, int]]] = set()


def trust(path: Path) -> None:
    """Remember a file as it is now: this process has written it, or has had it looked through."""
    _trusted.add(_identity(path))


def require_readable(path: Path) -> None:
    """Have a netCDF file looked through, once, unless this process has written it.

    Raises:
        InputError: it is missing, damaged, refers to other files, or is larger than it looks.
    """
    require_plain(path)
    if _identity(path) in _trusted:
        return
    fault = _checker.fault_of(path)
    if fault is not None:
        raise InputError(f"{path}: not a readable netCDF file: {fault}")
    trust(path)


def _identity(path: Path) -> tuple[int, int, int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
