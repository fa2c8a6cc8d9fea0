"""Run many tasks on a cluster, store each result as it arrives, and lose none."""

from __future__ import annotations

import asyncio
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

import numpy as np
from distributed import Client, Future, Worker, WorkerPlugin, get_worker
from distributed.client import FutureCancelledError
from distributed.protocol import pickle
from distributed.scheduler import KilledWorker

from bayesxs.engine.cluster import (
    ClusterLost,
    Preparation,
    check_versions,
    one_line,
    plugged,
    replace_workers,
    wrong_version,
)
from bayesxs.engine.results import Results, Task
from bayesxs.errors import InputError, words
from bayesxs.storage.atomic import remove_partials
from bayesxs.storage.manifest import package_version

type Function = Callable[..., Mapping[str, np.ndarray]]

_TICK_S: Final = 1.0
_LOST: Final = "scheduler-connection-lost"  # Dask's reason when it gives up the futures
_DONE, _FAILED, _REFUSED = "done", "failed", "refused"


@dataclass(frozen=True)
class Outcome:
    """The fate of the tasks: computed now, reused, failed (name and error in one line)."""

    done: int
    reused: int
    failed: dict[str, str]


def work(
    tasks: Sequence[Task],
    function: Function,
    shared: Any,
    results: Results,
    *,
    cluster: Client,
    report: Callable[[int, int], None] | None = None,
    attempts: int = 3,
    patience_s: float = 600.0,
) -> Outcome:
    """Run `function(shared, *task.arguments)` for each task that has no stored result.

    A task that raises is tried again, `attempts` times in all, then recorded in `failures.json`.
    One that was on three lost workers, running or waiting, runs once more with nothing beside it,
    so that it is blamed for its own deeds only. Calling again goes on with what is not stored.

    Args:
        tasks: tasks of different names.
        function: importable top-level callable that returns arrays by name.
        shared: the object that all tasks need; it travels to each worker once.
        results: where results are kept.
        cluster: client of `local_cluster` or `existing_scheduler`.
        report: called with the number of stored tasks and of all, after each stored task.
        attempts: how often a task that raises is tried in all.
        patience_s: time for which all workers may be gone, s.

    Raises:
        InputError: the scheduler was lost; all workers stay away; a worker runs another version of
            this package; the disk is full.
        ValueError: two tasks have one name.
    """
    if len({task.name for task in tasks}) != len(tasks):
        raise ValueError("two tasks have one name")
    progress = _Progress(len(tasks), report)
    if results.folder.is_dir():
        remove_partials(results.folder)
    open_tasks = []
    for task in tasks:
        if results.has(task):
            progress.stored()
        else:
            open_tasks.append(task)
    reused = progress.done
    failed: dict[str, str] = {}
    if open_tasks:
        address = getattr(cluster.scheduler, "address", "scheduler")
        payload = _Payload(pickle.dumps((function, shared)))
        try:
            with plugged(cluster, payload, "shared") as token:
                dispatch = _Dispatch(cluster, token, open_tasks, attempts, patience_s)
                try:
                    for task, answer in dispatch.run():
                        if isinstance(answer, str):
                            results.record_failure(task, answer)
                            failed[task.name] = answer
                        else:
                            results.save(task, answer)
                            progress.stored()
                finally:
                    dispatch.cancel()
        except ClusterLost as lost:
            raise InputError(
                f"{address}: {lost}: {progress.done} of {len(tasks)} tasks are stored: "
                f"{words().again} continues"
            ) from None
    return Outcome(done=progress.done - reused, reused=reused, failed=failed)


@dataclass
class _Progress:
    total: int
    report: Callable[[int, int], None] | None
    done: int = 0

    def stored(self) -> None:
        self.done += 1
        if self.report is not None:
            self.report(self.done, self.total)


# --- on the worker --------------------------------------------------------------------------------


class _Payload(WorkerPlugin):
    """The function and the shared object, unpickled when a worker's first task asks for them.

    A plugin, because the scheduler gives it also to workers that join or restart later; scattered
    data would be gone with the last worker that holds them.
    """

    def __init__(self, content: bytes) -> None:
        self._content: bytes | None = content

    def setup(self, worker: Worker) -> None:
        self._lock = threading.Lock()

    def open(self) -> tuple[Function, Any]:
        with self._lock:
            if self._content is not None:
                self._opened: tuple[Function, Any] = pickle.loads(self._content)
                self._content = None
            return self._opened


_version = lru_cache(maxsize=1)(package_version)


def _attempt(token: str, version: str, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Run a task on a worker; its error, if any, comes back as text, in plain tuples."""
    worker = get_worker()
    if _version() != version:
        return _REFUSED, worker.address, _version()
    for plugin in worker.plugins.values():
        if isinstance(plugin, Preparation) and plugin.error is not None:
            return _FAILED, plugin.error
    try:
        payload = worker.plugins[token]
        assert isinstance(payload, _Payload)
        function, shared = payload.open()
        return _DONE, _checked(function(shared, *arguments))
    except (Exception, SystemExit) as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return _FAILED, f"{one_line(error)} ({Path(frame.filename).name}:{frame.lineno})"


def _checked(result: Any) -> dict[str, np.ndarray]:
    """Check that a file can hold the result of a function."""
    if not isinstance(result, Mapping):
        raise TypeError(f"a task returns arrays by name, not {type(result).__name__}")
    arrays = {}
    for name, value in result.items():
        array = np.asarray(value)
        if not isinstance(name, str) or array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
            raise TypeError(f"{name!r}: arrays of {array.dtype} cannot be stored")
        arrays[name] = array
    return arrays


# --- on the client --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Try:
    task: Task
    number: int = 1
    alone: bool = False


class _Dispatch:
    """Keep the workers busy with few tasks ahead, and settle each task once."""

    def __init__(
        self, client: Client, token: str, tasks: Iterable[Task], attempts: int, patience_s: float
    ) -> None:
        self._client = client
        self._loop: asyncio.AbstractEventLoop = client.loop.asyncio_loop  # type: ignore[union-attr]
        self._token = token
        self._attempts = attempts
        self._patience_s = patience_s
        self._waiting = deque(_Try(task) for task in tasks)
        self._suspects: deque[_Try] = deque()
        self._flying: dict[str, tuple[_Try, Future[Any]]] = {}
        self._arrived: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self._submitted = 0
        self._ahead = 1
        self._looked = self._seen_worker = time.monotonic()

    def run(self) -> Iterable[tuple[Task, dict[str, np.ndarray] | str]]:
        """Yield each task with its arrays, or with the error of its last attempt."""
        self._look()
        while self._waiting or self._suspects or self._flying:
            self._fill()
            try:
                key, answer = self._arrived.get(timeout=_TICK_S)
            except Empty:
                self._look()
                continue
            if time.monotonic() - self._looked > _TICK_S:
                self._look()
            current, future = self._flying.pop(key)
            future.release()
            self._fill()  # before the caller stores the result, so that no worker waits for that
            settled = self._settle(current, answer)
            if settled is not None:
                yield current.task, settled

    def cancel(self) -> None:
        """Take back the unsettled tasks."""
        futures = [future for _, future in self._flying.values()]
        self._flying.clear()
        if futures and self._client.status == "running":
            with suppress(Exception):  # the scheduler may go at the same moment
                self._client.cancel(futures, force=True)

    def _look(self) -> None:
        """See which workers there are; stop if there is nobody to wait for."""
        if self._client.status != "running":
            raise ClusterLost("the scheduler was lost")
        try:
            info = self._client.scheduler_info(n_workers=0)
        except (OSError, AttributeError):  # the latter from a client that closed meanwhile
            raise ClusterLost("the scheduler was lost") from None
        replace_workers(self._client)
        self._looked = time.monotonic()
        self._ahead = 2 * max(1, info["total_threads"]) + 1
        if info["n_workers"] > 0:
            self._seen_worker = self._looked
        elif self._looked - self._seen_worker > self._patience_s:
            raise ClusterLost(f"no worker has been there for {self._patience_s:g} s")

    def _fill(self) -> None:
        while self._waiting and len(self._flying) < self._ahead and not self._one_alone():
            self._submit(self._waiting.popleft())
        if self._suspects and not self._waiting and not self._flying:
            self._submit(replace(self._suspects.popleft(), alone=True))

    def _one_alone(self) -> bool:
        return any(current.alone for current, _ in self._flying.values())

    def _submit(self, current: _Try) -> None:
        self._submitted += 1
        key = f"{current.task.name}-{self._token}-{self._submitted}"
        arguments = (self._token, package_version(), current.task.arguments)
        future = self._client.submit(_attempt, *arguments, key=key, pure=False, retries=0)
        self._flying[key] = (current, future)
        asyncio.run_coroutine_threadsafe(self._collect(key, future), self._loop)

    async def _collect(self, key: str, future: Future[Any]) -> None:
        try:
            answer = await self._client.gather(future, asynchronous=True)
        except (Exception, asyncio.CancelledError) as error:
            answer = error
        self._arrived.put((key, answer))

    def _settle(self, current: _Try, answer: Any) -> dict[str, np.ndarray] | str | None:
        """Return the arrays, or the final error, or None for a task that is to be tried again."""
        if isinstance(answer, KilledWorker):
            if current.alone:
                return f"{answer.allowed_failures + 1} workers died while they ran it"
            self._suspects.append(current)
            return None
        if isinstance(answer, BaseException):
            text = self._trouble(answer)
        else:
            kind, *rest = answer
            if kind == _DONE:
                arrays: dict[str, np.ndarray] = rest[0]
                return arrays
            if kind == _REFUSED:
                raise wrong_version(*rest)
            text = str(rest[0])
        if current.number >= self._attempts:
            return text
        again = replace(current, number=current.number + 1)
        (self._suspects if current.alone else self._waiting).append(again)
        return None

    def _trouble(self, error: BaseException) -> str:
        """Return the text of an error that Dask, not the function, has raised."""
        lost = isinstance(error, FutureCancelledError) and error.reason == _LOST
        if lost or isinstance(error, OSError) or self._client.status != "running":
            raise ClusterLost("the scheduler was lost") from None
        # A worker of another version may not even know what to run
        with suppress(OSError):
            check_versions(self._client)
        return one_line(error)
