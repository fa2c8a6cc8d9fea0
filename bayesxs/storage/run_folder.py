"""The run folder: which stage is finished with which inputs, safe against kills and meddling.

`manifest.json` records, for each finished stage, the content key of everything that went into it
and the SHA-256 of everything that came out. A stage whose key is unchanged is not run again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from bayesxs.errors import InputError, words
from bayesxs.storage.atomic import (
    arrays_sha256,
    atomic_path,
    file_sha256,
    open_input,
    plain,
    read_arrays,
    remove_partials,
    write_arrays,
    write_json,
)
from bayesxs.storage.inner import (
    InnerPath,
    entries,
    inner_root,
    present,
    remove,
    remove_folder,
)
from bayesxs.storage.locking import (
    CHECKPOINTS,
    LOCK,
    acquire,
    holds_run,
    require_own_files,
    require_run,
)
from bayesxs.storage.manifest import (
    CONFIG,
    MANIFEST,
    STAGE_NAMES,
    environment,
    is_output,
    new_manifest,
    now,
    package_version,
    read_manifest,
)

__all__ = ["CONFIG", "MANIFEST", "RunFolder", "Stage", "content_key", "holds_run"]

_SECONDS: Final = re.compile(r"\d{1,12}\.\d{3}", re.ASCII)


def content_key(
    stage: str,
    *,
    sections: Mapping[str, Any],
    upstream: Mapping[str, str] | None = None,
    files: Iterable[Path] = (),
    versions: Mapping[str, str] | None = None,
) -> str:
    """Return the SHA-256, in hexadecimal, of everything that a stage's result depends on.

    Args:
        stage: name of the stage.
        sections: the parts of the card that it reads, as plain JSON values.
        upstream: content key of each stage whose results it reads.
        files: input files, of which the content counts and not the place.
        versions: versions of the code and of the package's own data.

    Raises:
        InputError: an input file cannot be read.
    """
    parts = {
        "stage": stage,
        "sections": sections,
        "upstream": upstream or {},
        "files": [file_sha256(Path(path)) for path in files],
        "versions": versions or {},
    }
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


@dataclass
class Stage:
    """A stage in the making: the files it has announced, and what it wants remembered."""

    folder: RunFolder
    name: str
    key: str
    outputs: list[str] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    earlier_seconds: float = 0.0  # spent before the interruption, by the checkpoint
    started: float = field(default_factory=time.perf_counter)
    saved: set[str] = field(default_factory=set)  # labels of checkpoints of this process

    @property
    def seconds(self) -> float:
        """Time spent on the stage so far, over all interruptions."""
        return self.earlier_seconds + time.perf_counter() - self.started

    def output(self, name: str) -> Path:
        """Announce an output file, relative to the run folder, and return its path."""
        if not is_output(name):
            raise ValueError(f"{name!r} is no name of an output")
        if name not in self.outputs:
            self.outputs.append(name)
        return self.folder.path / name

    def save_checkpoint(
        self, arrays: Mapping[str, Any], metadata: Mapping[str, str] | None = None, label: str = ""
    ) -> None:
        """Keep the state of an unfinished stage, replacing an earlier one under the same label."""
        kept = {name: np.asarray(array) for name, array in arrays.items()}
        marked = {
            **(metadata or {}),
            "content_key": self.key,
            "seconds": f"{self.seconds:.3f}",
            "sha256": arrays_sha256(kept),
        }
        write_arrays(self.folder.checkpoint_path(self.name, label), kept, marked)
        self.saved.add(label)

    def load_checkpoint(
        self, label: str = ""
    ) -> tuple[dict[str, np.ndarray], dict[str, str]] | None:
        """Return the state kept by `save_checkpoint`, or None if none has this stage's key.

        Raises:
            InputError: the checkpoint file is damaged.
        """
        path = self.folder.checkpoint_path(self.name, label)
        if not present(path):
            return None
        arrays, marked = read_arrays(path)
        if marked.pop("content_key", None) != self.key:
            return None
        text = marked.pop("seconds", "")
        if marked.pop("sha256", None) != arrays_sha256(arrays) or not _SECONDS.fullmatch(text):
            raise InputError(f"{path}: damaged: delete it, {words().again} makes it anew")
        seconds = float(text)
        if label not in self.saved:
            self.earlier_seconds = max(self.earlier_seconds, seconds)
        return arrays, marked


class RunFolder:
    """A run folder, open for writing under a lock, or for reading.

    Use `create` to start or continue a run, `reopen` for a folder that must exist, `view` to read
    one. Use it as a context manager: leaving it frees the lock.
    """

    def __init__(
        self, path: InnerPath, manifest: dict[str, Any], lock: int | None, made: bool = False
    ) -> None:
        """Hold an opened folder; the class methods do the opening."""
        self.path = path
        self._manifest = manifest
        self._lock = lock
        self._made = made

    # opening and closing

    @classmethod
    def create(cls, path: str | os.PathLike[str], *, resume: bool = False) -> Self:
        """Create a run folder, or open an existing run's if `resume`.

        Raises:
            InputError: the folder holds a run and `resume` is off; it holds other files; another
                process writes in it; its run is of another schema version; it cannot be written.
        """
        folder = inner_root(path)
        made = not folder.exists()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise InputError(f"{folder}: is a file: {words().out} takes a folder") from None
        except OSError as error:
            raise InputError(f"{folder}: cannot create the folder: {error.strerror}") from None
        holds_run(folder, resume)
        lock = acquire(folder)
        try:
            # once more under the lock: another process may have come and gone in between
            if holds_run(folder, resume):
                return cls._continue(folder, lock)
            require_own_files(folder)
            remove_partials(folder)
            opened = cls(folder, new_manifest(), lock, made=made)
            opened._save()
            return opened
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def reopen(cls, path: str | os.PathLike[str]) -> Self:
        """Open the folder of an existing run for writing.

        Raises:
            InputError: it holds no run; another process writes in it; its run is of another schema
                version; it cannot be written.
        """
        folder = require_run(path)
        lock = acquire(folder)
        try:
            return cls._continue(folder, lock)
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def view(cls, path: str | os.PathLike[str]) -> Self:
        """Open the folder of an existing run for reading only, without a lock.

        Raises:
            InputError: it holds no run, or one of another schema version.
        """
        folder = require_run(path)
        return cls(folder, read_manifest(folder / MANIFEST), None)

    @classmethod
    def _continue(cls, folder: InnerPath, lock: int) -> Self:
        opened = cls(folder, read_manifest(folder / MANIFEST), lock)
        outputs = [name for done in opened.stages.values() for name in done["outputs"]]
        require_own_files(folder, outputs)
        remove_partials(folder)
        for finished in opened.stages:  # a kill may have come between the record and the removal
            opened.remove_checkpoints(finished)
        opened._manifest |= environment()
        opened._save()
        return opened

    def __enter__(self) -> Self:
        """Return the folder itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Free the lock; a new folder that bad input kept empty is taken away again."""
        if isinstance(error, InputError) and self._made and not self.stages:
            self._discard()
        self.close()

    def close(self) -> None:
        """Free the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _discard(self) -> None:
        own = {MANIFEST, CONFIG, LOCK}
        with suppress(OSError):  # what is said of the input matters more
            if set(entries(self.path)) <= own:
                for name in own:
                    remove(self.path / name)
                self.path.rmdir()

    # the manifest

    @property
    def manifest(self) -> dict[str, Any]:
        """A copy of what `manifest.json` holds."""
        copy: dict[str, Any] = json.loads(json.dumps(self._manifest))
        return copy

    @property
    def stages(self) -> dict[str, dict[str, Any]]:
        """The record of each finished stage: key, seconds, outputs, finished, notes."""
        stages: dict[str, dict[str, Any]] = self._manifest["stages"]
        return stages

    @property
    def notice(self) -> str | None:
        """A line that says so, where another user than this process's has written the folder."""
        for path in (self.path, self.path / MANIFEST):
            owner = os.lstat(path).st_uid
            if owner != os.geteuid():
                return f"{path}: belongs to another user (uid {owner})"
        return None

    def record(self, **facts: Any) -> None:
        """Write facts about the run (device, seeds) into the manifest, replacing earlier ones."""
        clash = {"format", "schema", "stages"} & set(facts)
        if clash:
            raise ValueError(f"{sorted(clash)} belong to the manifest itself")
        self._manifest |= plain(facts)
        self._save()

    def _save(self) -> None:
        if self._lock is None:
            raise ValueError(f"{self.path} is not open for writing")
        write_json(self.path / MANIFEST, self._manifest)

    # stages

    def note(self, stage: str, *names: str) -> Any:
        """Return what a finished stage has noted under a name, or under names one below the other.

        Raises:
            InputError: the stage is not finished, or the manifest has no such note.
        """
        if stage not in self.stages:
            raise InputError(f"{self.path}: stage {stage} is not finished: run it first")
        found = self.stages[stage]["notes"]
        for name in names:
            if not isinstance(found, dict) or name not in found:
                key = ".".join(("stages", stage, "notes", *names))
                allowed = f"damaged: choose another {words().out}"
                raise InputError.at(self.path / MANIFEST, key, "(missing)", allowed)
            found = found[name]
        return found

    def stage_is_current(self, name: str, key: str) -> bool:
        """Tell whether a stage was finished with this content key and its files are all there.

        Raises:
            InputError: an output file was changed since. (One that was deleted is made again.)
        """
        done = self.stages.get(name)
        if done is None or done["key"] != key:
            return False
        if any(not present(self.path / output) for output in done["outputs"]):
            return False
        self.check_outputs(name)
        return True

    def check_outputs(self, name: str) -> None:
        """Check that a stage is finished and that its files are as it left them.

        Raises:
            InputError: the stage is not finished; an output is missing or was changed.
        """
        done = self.stages.get(name)
        if done is None:
            raise InputError(f"{self.path}: stage {name} is not finished: run it first")
        for output in done["outputs"]:
            self._check_output(name, output)

    def output(self, name: str) -> InnerPath:
        """Return the path of what a finished stage has left, unchanged since.

        Raises:
            InputError: no stage has made it; it is missing or was changed.
        """
        for stage, done in self.stages.items():
            if name in done["outputs"]:
                self._check_output(stage, name)
                return self.path / name
        raise InputError(f"{self.path / name}: no finished stage of the run has made it")

    def _check_output(self, stage: str, name: str) -> None:
        path = self.path / name
        if not present(path):
            raise InputError(f"{path}: missing: {words().again} makes it anew")
        if file_sha256(path) != self.stages[stage]["outputs"][name]:
            raise InputError(
                f"{path}: changed since stage {stage} wrote it: delete it and {words().again} "
                f"makes it anew, or choose another {words().out}"
            )

    @contextmanager
    def stage(self, name: str, key: str) -> Iterator[Stage]:
        """Run a stage: forget its old record, and at a good end write the new one.

        The block writes its files through `Stage.output`. Until it ends the stage counts as not
        finished, so a kill at any moment makes it run again, from its checkpoint if it left one.
        """
        if name not in STAGE_NAMES:
            raise ValueError(f"{name!r} is no stage of `manifest.STAGE_NAMES`")
        if self.stages.pop(name, None) is not None:
            self._save()
        current = Stage(self, name, key)
        yield current
        outputs = {output: file_sha256(self.path / output) for output in current.outputs}
        self.stages[name] = {
            "key": key,
            "seconds": round(current.seconds, 3),
            "finished": now(),
            "package": package_version(),
            "outputs": outputs,
            "notes": plain(current.notes),
        }
        self._save()
        self.remove_checkpoints(name)

    def copy_stage(self, name: str, source: RunFolder) -> None:
        """Take over a stage that is finished in another run folder: its files and its record.

        Raises:
            InputError: the stage is not finished there; a file of it is missing, was changed or
                cannot be copied.
        """
        source.check_outputs(name)
        record = source.manifest["stages"][name]
        for output in record["outputs"]:
            with (
                open_input(source.path / output) as original,
                atomic_path(self.path / output) as temporary,
                temporary.open("xb") as copy,
            ):
                shutil.copyfileobj(original, copy, 1 << 20)
        self.stages[name] = record
        self.check_outputs(name)
        self._save()

    # checkpoints

    def checkpoint_path(self, stage: str, label: str = "") -> InnerPath:
        """Return the path of a stage's checkpoint; a label tells several of one stage apart."""
        return self.path / CHECKPOINTS / stage / f"{label or stage}.safetensors"

    def remove_checkpoints(self, stage: str) -> None:
        """Remove what a stage kept while it was unfinished."""
        folder = self.checkpoint_path(stage).parent
        for name in entries(folder):
            if name.endswith(".safetensors"):
                remove(folder / name)
        remove_folder(folder)
        remove_folder(folder.parent)
