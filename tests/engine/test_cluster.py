"""Schedulers of somebody else: refused for a reason, lost without a loss."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import toys

from bayesxs.engine.cluster import existing_scheduler
from bayesxs.engine.results import Results
from bayesxs.engine.work import Outcome, work
from bayesxs.errors import InputError
from bayesxs.storage.manifest import package_version

HERE = Path(__file__).resolve().parent
TASKS = toys.some_tasks(40)


@contextmanager
def process(*arguments: str, path: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    """Run Python with `toys`, and what else lies in `path`, importable."""
    folders = [str(folder) for folder in (path, HERE) if folder is not None]
    started = subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


@contextmanager
def server(workers: int, path: Path | None = None) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    with process(str(HERE / "server.py"), str(workers), path=path) as started:
        assert started.stdout is not None
        yield started.stdout.readline().strip(), started


@contextmanager
def worker(address: str, path: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    arguments = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--death-timeout", "60")
    with process("-m", "distributed.cli.dask_worker", address, *arguments, path=path) as started:
        yield started


def another_version(folder: Path) -> Path:
    """Make a folder that tells Python of bayesxs 0.0.9."""
    information = folder / "bayesxs-0.0.9.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: bayesxs\nVersion: 0.0.9\n")
    return folder


def refusal(address: str, **arguments: float) -> tuple[str, float]:
    """Return what is said of an address, in one line, and after which time."""
    begin = time.monotonic()
    with pytest.raises(InputError) as caught, existing_scheduler(address, **arguments):
        pass
    assert "\n" not in str(caught.value)
    assert address in str(caught.value)
    return str(caught.value), time.monotonic() - begin


@pytest.mark.parametrize(
    "address",
    ["", "8786", "host:8786", "http://host:1", "tcp://host", "tcp://:8786", "tcp://a b:1",
     "tcp://host:0", "tcp://host:65536", "tcp://host:x", "tls://", "tcp://host:1\n"],
)  # fmt: skip
def test_a_malformed_address_is_named(address: str) -> None:
    with pytest.raises(InputError, match="tcp://host:port or tls://host:port") as caught:
        existing_scheduler(address).__enter__()
    assert "\n" not in str(caught.value)


def test_a_scheduler_that_does_not_answer_is_named_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = closed.getsockname()[1]
    # one listens and says nothing
    with socket.create_server(("127.0.0.1", 0)) as mute, ThreadPoolExecutor(3) as pool:
        addresses = [f"tcp://127.0.0.1:{port}" for port in (nobody, mute.getsockname()[1])]
        for said, seconds in pool.map(refusal, [*addresses, "tcp://nowhere.invalid:8786"]):
            assert "no Dask scheduler answers" in said
            assert seconds < 15


def test_tls_without_certificates_is_refused() -> None:
    said, _ = refusal("tls://127.0.0.1:8786")
    assert "TLS" in said


def test_no_worker_is_said_with_the_way_to_start_one() -> None:
    with server(0) as (address, _):
        said, _ = refusal(address, wait_s=0.5)
    assert f"dask worker --nthreads 1 {address}" in said


def test_workers_of_another_version_are_refused(tmp_path: Path) -> None:
    with (
        server(1, another_version(tmp_path)) as (address, _),
        pytest.raises(InputError) as caught,
        existing_scheduler(address),
    ):
        pass
    assert "worker tcp://127.0.0.1:" in str(caught.value)
    assert f"bayesxs version = 0.0.9: must be {package_version()}" in str(caught.value)


def test_a_worker_of_another_version_that_joins_later_is_refused(tmp_path: Path) -> None:
    other, results = tmp_path / "other", Results(tmp_path / "results")
    other.mkdir()
    another_version(other)
    with server(1) as (address, _), existing_scheduler(address) as client:
        tasks, shared = toys.some_tasks(400), toys.Shared(tmp_path, 0.1)
        said = r"bayesxs version = 0\.0\.9"
        with worker(address, other), pytest.raises(InputError, match=said):
            work(tasks, toys.numbers, shared, results, cluster=client)
        client.wait_for_workers(1)
        again = work(TASKS, toys.numbers, toys.Shared(tmp_path), results, cluster=client)
    assert again.done + again.reused == len(TASKS)


def test_workers_may_leave_and_come_but_not_stay_away(tmp_path: Path) -> None:
    results, shared = Results(tmp_path / "results"), toys.Shared(tmp_path, 0.03)
    command = ("-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0")
    note = tmp_path / "scheduler.json"
    with process(*command, "--no-dashboard", "--scheduler-file", str(note)):
        deadline = time.monotonic() + 60
        while not note.exists() or not (found := note.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        address = "tcp://" + found.split("tcp://")[1].split('"')[0]
        with worker(address) as first, existing_scheduler(address) as client:
            leave = threading.Timer(0.5, first.kill)
            leave.start()
            with pytest.raises(InputError, match=r"no worker has been there for 1 s: \d+ of 40"):
                work(TASKS, toys.numbers, shared, results, cluster=client, patience_s=1.0)
            with worker(address):
                outcome = work(TASKS, toys.numbers, shared, results, cluster=client)
    assert outcome.done + outcome.reused == len(TASKS)
    assert outcome.reused > 0


def test_a_lost_scheduler_costs_no_stored_result(tmp_path: Path) -> None:
    results, rng = Results(tmp_path / "results"), random.Random(3)
    shared = toys.Shared(tmp_path, 0.03)
    for least in (1, 10, 20):
        with server(2) as (address, started), existing_scheduler(address) as client:

            def kill(stored: int, _: int, least: int = least, pid: int = started.pid) -> None:
                if stored == least:
                    delay = rng.uniform(0, 0.15)
                    threading.Timer(delay, os.kill, (pid, signal.SIGKILL)).start()

            with pytest.raises(InputError) as caught:
                work(TASKS, toys.numbers, shared, results, cluster=client, report=kill)
            said, count = str(caught.value), sum(results.has(task) for task in TASKS)
            assert said == (
                f"{address}: the scheduler was lost: {count} of 40 tasks are stored: "
                "running again continues"
            )
            assert count >= least
            assert not psutil.Process(started.pid).is_running() or started.wait() is not None
    with server(1) as (address, _), existing_scheduler(address) as client:
        outcome = work(TASKS, toys.numbers, shared, results, cluster=client)
        with client.get_executor() as pool:  # left clean for its next user
            assert pool.submit(len, "abc").result() == 3
    assert outcome == Outcome(done=40 - count, reused=count, failed={})
    for task in TASKS:
        draw = toys.numbers(toys.Shared(tmp_path), *task.arguments)["draw"]
        assert results.load(task)["draw"].tobytes() == draw.tobytes()


def test_a_scheduler_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "marks").mkdir()
    with server(1) as (address, _):
        for _ in range(2):
            with existing_scheduler(address, setup=toys.nothing) as client:
                work(
                    TASKS[:2],
                    toys.numbers,
                    toys.Shared(tmp_path),
                    Results(tmp_path),
                    cluster=client,
                )
        with existing_scheduler(address) as client:
            plugins = client.run_on_scheduler(toys.plugins)
            assert [name for name in plugins if "bayesxs" in name] == []
