"""The stored results of many tasks: one file each, which counts only when whole and of its task."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from bayesxs.errors import InputError, words
from bayesxs.storage.atomic import arrays_sha256, read_arrays, read_json, write_arrays, write_json
from bayesxs.storage.inner import present

FAILURES: Final = "failures.json"
_STEM: Final = re.compile(r"\w[\w.-]*")


@dataclass(frozen=True)
class Task:
    """One call of the function that the workers run.

    Args:
        name: stem of the result's file, unique among the tasks of a folder, e.g. "sbc-00012".
        key: content key of everything that the result depends on, in hexadecimal.
        arguments: what the function takes after the shared object.
    """

    name: str
    key: str
    arguments: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not _STEM.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is not the stem of a file")


class Results:
    """A folder of one safetensors file per task, and `failures.json`.

    One process writes in the folder at a time; `RunFolder` holds the lock.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, task: Task) -> Path:
        """Return where the result of a task lies."""
        return self.folder / f"{task.name}.safetensors"

    def has(self, task: Task) -> bool:
        """Tell whether a whole result with this task's key is stored."""
        try:
            self.load(task)
        except InputError:
            return False
        return True

    def load(self, task: Task) -> dict[str, np.ndarray]:
        """Return the stored result of a task.

        Raises:
            InputError: it is missing, damaged, or of another key.
        """
        path = self.path(task)
        arrays, metadata = read_arrays(path)
        if metadata.get("key") != task.key:
            raise InputError(f"{path}: of another setting: {words().again} makes it anew")
        if metadata.get("sha256") != arrays_sha256(arrays):
            raise InputError(f"{path}: damaged: {words().again} makes it anew")
        return arrays

    def save(self, task: Task, arrays: Mapping[str, Any]) -> None:
        """Store the result of a task; it counts from the moment its file is whole.

        Raises:
            InputError: the disk is full, or the folder cannot be written.
        """
        native = {name: _native(array) for name, array in arrays.items()}
        write_arrays(self.path(task), native, {"key": task.key, "sha256": arrays_sha256(native)})
        failures = self.failures
        if failures.pop(task.name, None) is not None:
            write_json(self.folder / FAILURES, failures)

    def record_failure(self, task: Task, error: str) -> None:
        """Note why a task has no result."""
        write_json(self.folder / FAILURES, {**self.failures, task.name: error})

    @property
    def failures(self) -> dict[str, str]:
        """The error of each task that failed at its last attempt, by name.

        Raises:
            InputError: `failures.json` is damaged.
        """
        path = self.folder / FAILURES
        if not present(path):
            return {}
        failures = read_json(path)
        if not isinstance(failures, dict):
            raise InputError(f"{path}: not a table of failed tasks: delete it")
        return {str(name): str(error) for name, error in failures.items()}


def _native(array: Any) -> np.ndarray:
    """Return an array in this machine's byte order, as it is read back."""
    plain = np.asarray(array, order="C")
    return plain.astype(plain.dtype.newbyteorder("="), copy=False)
