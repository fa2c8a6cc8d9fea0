"""What the tests let workers do: cheap, importable by name, and seen through files."""

from __future__ import annotations

import os
import signal
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np

from bayesxs.engine.results import Task


class Shared:
    """A shared object that leaves a file for each time it is unpickled."""

    def __init__(self, folder: Path, pause: float = 0.0) -> None:
        self.folder = folder
        self.pause = pause
        self.table = np.arange(12.0)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        mark(self.folder, "unpickled")


def mark(folder: Path, label: str) -> None:
    """Leave a file that nobody else writes, with the process that wrote it."""
    (folder / f"{label}-{uuid.uuid4().hex}").write_text(str(os.getpid()))


def marks(folder: Path, label: str) -> list[int]:
    """Return the processes that left a label."""
    return [int(path.read_text()) for path in folder.glob(f"{label}-*")]


def numbers(shared: Shared, seed: int) -> dict[str, np.ndarray]:
    time.sleep(shared.pause)
    rng = np.random.default_rng(seed)
    mark(shared.folder, f"ran_{seed}")
    return {"draw": rng.normal(size=50) + shared.table[seed % 12], "seed": np.asarray(seed)}


def poisonous(shared: Shared, seed: int, bad: tuple[int, ...]) -> dict[str, np.ndarray]:
    result = numbers(shared, seed)
    if seed in bad:
        raise ArithmeticError(f"seed {seed}\nis bad")
    return result


def third_time(shared: Shared, seed: int) -> dict[str, np.ndarray]:
    result = numbers(shared, seed)
    if len(marks(shared.folder, f"ran_{seed}")) < 3:
        raise RuntimeError("not yet")
    return result


def deadly(shared: Shared, seed: int, bad: tuple[int, ...]) -> dict[str, np.ndarray]:
    result = numbers(shared, seed)
    if seed in bad:
        os.kill(os.getpid(), signal.SIGKILL)
    return result


def unstorable(shared: Shared, seed: int) -> dict[str, np.ndarray]:
    return {"words": np.asarray(["a", "b"])}


def surroundings(shared: Shared, seed: int) -> dict[str, np.ndarray]:
    """Tell on how many cores each thread may run, and what was set before imports."""
    time.sleep(shared.pause)
    cores = {
        core
        for entry in Path("/proc/self/task").iterdir()
        for core in os.sched_getaffinity(int(entry.name))
    }
    early = int(os.environ.get("BAYESXS_TOY", "0"))
    return {
        "cores": np.asarray(sorted(cores)),
        "early": np.asarray(early),
        "pid": np.asarray(os.getpid()),
    }


def prepare() -> None:
    mark(Path(os.environ["BAYESXS_TOY_FOLDER"]), "prepared")


def broken_after_restart() -> None:
    folder = Path(os.environ["BAYESXS_TOY_FOLDER"])
    mark(folder, "prepared")
    # A process that starts slowly may be prepared twice: as it joins, and with all that have joined
    if len(set(marks(folder, "prepared"))) > 1:
        raise RuntimeError("no such device")


def some_tasks(count: int) -> list[Task]:
    return [Task(f"toy-{seed:03}", f"{seed:064x}", (seed,)) for seed in range(count)]


def nothing() -> None:
    pass


def plugins(dask_scheduler: Any) -> list[str]:
    return list(dask_scheduler.worker_plugins)
