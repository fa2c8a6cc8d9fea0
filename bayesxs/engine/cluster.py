"""Where tasks run: workers of this machine, or a Dask scheduler that already exists."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from importlib import metadata
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Final

import dask
from distributed import Client, LocalCluster, Security, Worker, WorkerPlugin
from distributed.core import rpc

from bayesxs.errors import InputError
from bayesxs.storage.manifest import package_version

# Deaths of workers that Dask lets pass before it gives up the task: it does so at the third
_DEATHS_BEFORE_BLAME: Final = 2
_ANSWER_S: Final = 8.0
_GRACE_S: Final = 1.0
_RESTART_S: Final = 20.0
_GIVE_UP_NANNY: Final = "distributed.deploy.lost-worker-timeout"
_LOOPBACK: Final = "127.0.0.1"
_ADDRESS: Final = re.compile(r"(?:tcp|tls)://(?:[^\s:/\[\]@]+|\[[0-9A-Fa-f:.]+\]):(\d{1,5})")


class ClusterLost(Exception):
    """The scheduler or its workers are gone for good, with what is missing."""


class Preparation(WorkerPlugin):
    """Start a worker: keep to one core, then call `setup`."""

    def __init__(self, cores: tuple[int, ...] = (), setup: Callable[[], None] | None = None):
        self._cores = cores
        self._setup = setup
        self.error: str | None = None

    def setup(self, worker: Worker) -> None:
        """Prepare the process of a worker; a failure is kept for the tasks that ask for it."""
        try:
            if self._cores:
                _pin(self._cores[int(worker.name) % len(self._cores)])
            if self._setup is not None:
                self._setup()
        except Exception as error:
            self.error = f"setup of worker {worker.address} failed: {one_line(error)}"
            raise


def one_line(error: BaseException, limit: int = 400) -> str:
    """Return the type and the message of an exception in one line."""
    text = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(" :")
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _pin(core: int) -> None:
    """Bind every thread of this process, and so those to come, to one core."""
    threads = Path("/proc/self/task")
    identifiers = [int(entry.name) for entry in threads.iterdir()] if threads.is_dir() else [0]
    for identifier in identifiers:
        with suppress(ProcessLookupError):  # a thread may end meanwhile
            os.sched_setaffinity(identifier, {core})


# --- workers of this machine ----------------------------------------------------------------------


@contextmanager
def local_cluster(
    workers: int,
    environment: Mapping[str, str] | None = None,
    setup: Callable[[], None] | None = None,
    *,
    dashboard: str | None = None,
) -> Iterator[Client]:
    """Start worker processes of one thread on this machine's loopback; end them with the block.

    Worker number i keeps to core i modulo the cores at hand, where the system can bind processes.

    Args:
        workers: number of processes, at least 1.
        environment: variables that the workers start with, before they import anything.
        setup: called once in each worker at its start; importable by its module's name.
        dashboard: address of Dask's dashboard, such as "127.0.0.1:8787"; without one it is off.

    Raises:
        ValueError: `workers` is below 1.
    """
    if workers < 1:
        raise ValueError(f"workers = {workers}: at least 1")
    cores = tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()
    with ExitStack() as stack:
        stack.enter_context(_quiet())
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bayesxs-workers-"))
        settings = {"temporary-directory": folder, _GIVE_UP_NANNY: f"{_RESTART_S:.0f}s"}
        stack.enter_context(dask.config.set(settings))
        stack.enter_context(_environment(environment or {}))
        with _interrupt_afterwards():
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host=_LOOPBACK,
                protocol="tcp://",
                security=Security(require_encryption=False),
                silence_logs=logging.CRITICAL,
                # Above a limit Dask would pause the worker, and with it the task, for good
                memory_limit=0,
                scheduler_kwargs={
                    "allowed_failures": _DEATHS_BEFORE_BLAME,
                    # A page of the scheduler's health is always there; any port does for it
                    "dashboard": dashboard is not None,
                    "dashboard_address": dashboard or f"{_LOOPBACK}:0",
                },
            )
            stack.callback(_close_cluster, cluster)
            client = stack.enter_context(_closing(Client(cluster, set_as_default=False)))
        stack.enter_context(plugged(client, Preparation(cores, setup), "preparation"))
        yield client


def replace_workers(client: Client) -> None:
    """Start workers of this machine anew that did not come back from a restart.

    A process that dies before it has registered is not started again by its nanny; the cluster
    closes that nanny after a while, and opens another one when it is asked for its full size.
    """
    if isinstance(client.cluster, LocalCluster):
        client.cluster.scale(len(client.cluster.worker_spec))


def _close_cluster(cluster: LocalCluster) -> None:
    """End the workers; those that still compute after a moment are killed."""

    def kill() -> None:
        for nanny in cluster.workers.values():
            pid = nanny.process.pid if nanny.process is not None else None
            if pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    killer = threading.Timer(_GRACE_S, kill)
    killer.start()
    try:
        with suppress(TimeoutError):  # a killed process may linger on a busy machine
            cluster.close()
    finally:
        killer.cancel()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables that new processes inherit; take back also those that Dask sets for them."""
    by_dask = dask.config.get("distributed.nanny.pre-spawn-environ")
    names = {*variables, *by_dask, "PYTHONHASHSEED"}
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _interrupt_afterwards() -> Iterator[None]:
    """Delay Ctrl-C and SIGTERM to the end of the block; keep Ctrl-C from what it starts.

    Threads inherit the blocked signal, and processes inherit it from them; so a Ctrl-C, which the
    terminal sends to the workers too, reaches only the thread that waits for them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    resource_tracker.ensure_running()  # its start would unblock the signal
    caught: list[int] = []
    # SIGTERM is a caller's business, unless it is to end the process as it does without one
    sent = [signal.SIGINT]
    if callable(signal.getsignal(signal.SIGTERM)):
        sent.append(signal.SIGTERM)
    handlers = {s: signal.signal(s, lambda number, frame: caught.append(number)) for s in sent}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if caught:
        signal.raise_signal(caught[0])


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's log from the terminal: exceptions hold all that matters of it."""
    names = [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]
    handlers = {handler for name in names for handler in logging.getLogger(name).handlers}
    before = {handler: handler.level for handler in handlers}
    for handler in handlers:
        handler.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for handler, level in before.items():
            handler.setLevel(level)


@contextmanager
def _closing(client: Client) -> Iterator[Client]:
    try:
        yield client
    finally:
        with suppress(OSError, TimeoutError):
            client.close(timeout=5)


# --- an existing scheduler ------------------------------------------------------------------------


@contextmanager
def existing_scheduler(
    address: str, setup: Callable[[], None] | None = None, *, wait_s: float = 60.0
) -> Iterator[Client]:
    """Connect to a Dask scheduler that runs already, and leave it running.

    The TLS files of a `tls://` address are those of Dask's configuration (docs/cluster.md).

    Args:
        address: `tcp://host:port` or `tls://host:port`.
        setup: called once in each worker, now or when it joins; importable by its module's name.
        wait_s: time in which the first worker must be there, s.

    Raises:
        InputError: the address is malformed or no scheduler answers there; there are no workers; a
            worker runs another version of this package.
    """
    _ask(address)
    with ExitStack() as stack:
        stack.enter_context(_quiet())
        try:
            connected = Client(address, timeout=_ANSWER_S, set_as_default=False)
        except (OSError, TimeoutError) as error:
            raise _no_answer(address, error) from None
        client = stack.enter_context(_closing(connected))
        try:
            _wait_for_worker(client, address, wait_s)
            check_versions(client)
            if setup is not None:
                stack.enter_context(plugged(client, Preparation((), setup), "preparation"))
        except (OSError, ClusterLost) as error:
            raise _no_answer(address, error) from None
        yield client


def _ask(address: str) -> None:
    """Check that a Dask scheduler answers at an address, in a bounded time."""
    match = _ADDRESS.fullmatch(address)
    if match is None or not 0 < int(match[1]) < 65536:
        raise InputError.at("scheduler", "address", address, "tcp://host:port or tls://host:port")

    async def identity() -> str:
        arguments = Security().get_connection_args("client")
        scheduler = rpc(address, timeout=_ANSWER_S, connection_args=arguments)
        try:
            return str((await scheduler.identity(n_workers=0))["type"])
        finally:
            await scheduler.close_rpc()

    async def bounded() -> str:
        return await asyncio.wait_for(identity(), _ANSWER_S)

    try:
        # A thread of its own, since a notebook's already has an event loop
        with ThreadPoolExecutor(1) as pool, _quiet():
            kind = pool.submit(asyncio.run, bounded()).result()
    except Exception as error:  # whatever the other side makes Dask raise
        raise _no_answer(address, error) from None
    if kind != "Scheduler":
        raise InputError.at("scheduler", "address", address, f"a Dask {kind.lower()} answers there")


def _no_answer(address: str, error: BaseException) -> InputError:
    return InputError(
        f"{address}: no Dask scheduler answers within {_ANSWER_S:.0f} s ({one_line(error, 160)}): "
        "is it running, and are host, port and tcp or tls right?"
    )


def _wait_for_worker(client: Client, address: str, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while client.scheduler_info(n_workers=0)["n_workers"] == 0:
        if time.monotonic() > deadline:
            raise InputError(
                f"{address}: the scheduler has had no worker for {wait_s:g} s: start one where "
                f"this bayesxs is installed: dask worker --nthreads 1 {address}"
            )
        time.sleep(0.2)


def check_versions(client: Client) -> None:
    """Check that every worker has this version of the package.

    Raises:
        InputError: one has not, with its address and its version.
    """
    # A function of the standard library: a worker may not have this package at all
    versions = client.run(metadata.version, "bayesxs", on_error="return")
    for worker, version in versions.items():
        if isinstance(version, metadata.PackageNotFoundError):
            raise wrong_version(worker, "not installed")
        if isinstance(version, str) and version != package_version():
            raise wrong_version(worker, version)


def wrong_version(worker: str, version: str) -> InputError:
    """Return the error of a worker that runs another version."""
    return InputError.at(
        f"worker {worker}",
        "bayesxs version",
        version,
        f"must be {package_version()}, as here: install that for the worker and restart it",
    )


@contextmanager
def plugged(client: Client, plugin: WorkerPlugin, label: str) -> Iterator[str]:
    """Attach a plugin to all workers, also to those that join later, for the time of a block."""
    name = f"bayesxs-{label}-{secrets.token_hex(8)}"
    try:
        _register(client, plugin, name)
        yield name
    finally:
        if client.status == "running":
            with suppress(Exception):  # the scheduler may go at the same moment
                client.unregister_worker_plugin(name)


def _register(client: Client, plugin: WorkerPlugin, name: str) -> None:
    for _ in range(10):
        try:
            client.register_plugin(plugin, name=name)
            return
        except OSError:  # the scheduler was lost, or only a worker at this moment
            time.sleep(0.3)
        except Exception:
            check_versions(client)  # a worker of another version may not know the plugin
            raise
        if client.status != "running":
            break
    raise ClusterLost("the scheduler was lost")
