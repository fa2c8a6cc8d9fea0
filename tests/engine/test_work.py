"""Many tasks on workers of this machine: every result once, whatever is killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import toys
from distributed import Client

from bayesxs.engine import cluster as engine_cluster
from bayesxs.engine.cluster import local_cluster
from bayesxs.engine.results import Results, Task
from bayesxs.engine.work import Outcome, work

COUNT = 40
TASKS = toys.some_tasks(COUNT)
DRIVER = Path(__file__).with_name("driver.py")


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("marked")


@pytest.fixture(scope="module")
def two(marked: Path) -> Iterator[Client]:
    environment = {"BAYESXS_TOY": "7", "BAYESXS_TOY_FOLDER": str(marked)}
    with local_cluster(2, environment, toys.prepare) as client:
        yield client


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    """What an uninterrupted run in this process gives."""
    with tempfile.TemporaryDirectory() as folder:
        shared = toys.Shared(Path(folder))
        return {task.name: toys.numbers(shared, *task.arguments)["draw"] for task in TASKS}


def check(results: Results, expected: dict[str, np.ndarray]) -> None:
    assert {task.name: results.load(task)["draw"].tobytes() for task in TASKS} == {
        name: draw.tobytes() for name, draw in expected.items()
    }
    names = {path.name for path in results.folder.iterdir()}
    assert names == {f"{task.name}.safetensors" for task in TASKS}


def workers(client: Client) -> list[int]:
    """Return the processes of the workers that run at the moment."""
    nannies = client.cluster.workers.values()
    return [nanny.process.pid for nanny in nannies if nanny.process and nanny.process.pid]


def variants(label: str, count: int, *more: object) -> list[Task]:
    return [Task(f"{label}-{seed}", "ab", (seed, *more)) for seed in range(count)]


def stored(folder: Path) -> int:
    return len(list(folder.glob("*.safetensors")))


# --- results ---------------------------------------------------------------------------------


def test_results_do_not_depend_on_workers_or_order(
    two: Client, tmp_path: Path, expected: dict[str, np.ndarray]
) -> None:
    shared = toys.Shared(tmp_path)
    seen: list[tuple[int, int]] = []
    many, one = Results(tmp_path / "many"), Results(tmp_path / "one")
    outcome = work(
        TASKS, toys.numbers, shared, many, cluster=two, report=lambda *state: seen.append(state)
    )
    assert outcome == Outcome(done=COUNT, reused=0, failed={})
    assert seen == [(done, COUNT) for done in range(1, COUNT + 1)]
    shuffled = random.Random(1).sample(TASKS, COUNT)
    with local_cluster(1) as client:
        work(shuffled, toys.numbers, shared, one, cluster=client)
    check(many, expected)
    check(one, expected)


def test_the_shared_object_is_unpickled_once_in_each_worker(two: Client, tmp_path: Path) -> None:
    shared = toys.Shared(tmp_path, 0.02)
    work(TASKS, toys.numbers, shared, Results(tmp_path / "results"), cluster=two)
    assert sorted(toys.marks(tmp_path, "unpickled")) == sorted(workers(two))


def test_stored_results_are_reused_and_bad_ones_made_again(
    two: Client, tmp_path: Path, expected: dict[str, np.ndarray]
) -> None:
    shared, results = toys.Shared(tmp_path), Results(tmp_path / "results")
    work(TASKS[:10], toys.numbers, shared, results, cluster=two)
    results.path(TASKS[2]).write_bytes(b"damaged")
    results.save(Task(TASKS[5].name, "ff", ()), {"draw": np.zeros(3)})
    (results.folder / ".partial-0123abcd-toy-007.safetensors").write_bytes(b"half")
    seen: list[int] = []
    outcome = work(
        TASKS, toys.numbers, shared, results, cluster=two, report=lambda done, _: seen.append(done)
    )
    assert outcome == Outcome(done=COUNT - 8, reused=8, failed={})
    assert seen == list(range(1, COUNT + 1))
    check(results, expected)
    assert work(TASKS, toys.numbers, shared, results, cluster=two).done == 0


# --- failures --------------------------------------------------------------------------------


def test_a_task_that_raises_is_tried_three_times_and_recorded(two: Client, tmp_path: Path) -> None:
    results = Results(tmp_path / "results")
    tasks = variants("bad", 12, (3, 7))
    outcome = work(tasks, toys.poisonous, toys.Shared(tmp_path), results, cluster=two)
    assert (outcome.done, sorted(outcome.failed)) == (10, ["bad-3", "bad-7"])
    assert outcome.failed["bad-3"].startswith("ArithmeticError: seed 3 is bad (toys.py:")
    assert results.failures == outcome.failed
    runs = [len(toys.marks(tmp_path, f"ran_{seed}")) for seed in range(12)]
    assert runs == [3 if seed in (3, 7) else 1 for seed in range(12)]


def test_a_task_may_succeed_at_the_third_attempt(two: Client, tmp_path: Path) -> None:
    results = Results(tmp_path / "results")
    tasks = variants("late", 4)
    results.record_failure(tasks[0], "an earlier run's")
    outcome = work(tasks, toys.third_time, toys.Shared(tmp_path), results, cluster=two)
    assert outcome == Outcome(done=4, reused=0, failed={})
    assert results.failures == {}
    assert [len(toys.marks(tmp_path, f"ran_{seed}")) for seed in range(4)] == [3] * 4


def test_what_no_file_can_hold_is_a_failure(two: Client, tmp_path: Path) -> None:
    results = Results(tmp_path / "results")
    outcome = work(variants("word", 1), toys.unstorable, None, results, cluster=two)
    assert "cannot be stored" in outcome.failed["word-0"]


def test_names_are_unique(two: Client, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one name"):
        work([TASKS[0]] * 2, toys.numbers, None, Results(tmp_path), cluster=two)


# --- workers ---------------------------------------------------------------------------------


def test_each_worker_keeps_to_one_core_and_has_its_environment(
    two: Client, tmp_path: Path, marked: Path
) -> None:
    results, tasks = Results(tmp_path / "results"), variants("where", 20)
    work(tasks, toys.surroundings, toys.Shared(tmp_path, 0.05), results, cluster=two)
    loaded = [results.load(task) for task in tasks]
    cores = {int(arrays["pid"]): arrays["cores"].tolist() for arrays in loaded}
    available = sorted(os.sched_getaffinity(0))
    assert sorted(cores.values()) == sorted([available[i % len(available)]] for i in range(2))
    assert {int(arrays["early"]) for arrays in loaded} == {7}
    assert set(workers(two)) <= set(toys.marks(marked, "prepared"))
    assert len(toys.marks(marked, "prepared")) == len(set(toys.marks(marked, "prepared")))


def test_a_local_cluster_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("BAYESXS_TOY", "before")
    environment = dict(os.environ)
    with local_cluster(1, {"BAYESXS_TOY": "7", "BAYESXS_NEW": "1"}) as client:
        pids = [os.getpid(), *workers(client)]
        listening = [
            connection.laddr.ip
            for pid in pids
            for connection in psutil.Process(pid).net_connections()
            if connection.status == psutil.CONN_LISTEN
        ]
    assert set(listening) == {"127.0.0.1"}
    assert not any(psutil.pid_exists(pid) for pid in pids[1:])
    assert dict(os.environ) == environment
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_has_workers() -> None:
    with pytest.raises(ValueError, match="at least 1"), local_cluster(0):
        pass


# --- kills -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_workers_cost_no_result(
    two: Client, tmp_path: Path, expected: dict[str, np.ndarray], seed: int
) -> None:
    results, rng = Results(tmp_path / "results"), random.Random(seed)
    kills = 0

    def kill() -> None:
        nonlocal kills
        for _ in range(3):
            time.sleep(rng.uniform(0.05, 0.7))
            for pid in rng.sample(workers(two), 1) if workers(two) else ():
                os.kill(pid, signal.SIGKILL)
                kills += 1

    killer = threading.Thread(target=kill)
    killer.start()
    outcome = work(TASKS, toys.numbers, toys.Shared(tmp_path, 0.06), results, cluster=two)
    killer.join()
    assert kills > 0
    assert outcome == Outcome(done=COUNT, reused=0, failed={})
    check(results, expected)


def test_only_the_task_that_kills_is_blamed(two: Client, tmp_path: Path) -> None:
    results = Results(tmp_path / "results")
    tasks = variants("deadly", 6, (2,))
    outcome = work(tasks, toys.deadly, toys.Shared(tmp_path), results, cluster=two)
    assert outcome.failed == {"deadly-2": "3 workers died while they ran it"}
    assert (outcome.done, results.failures) == (5, outcome.failed)


def test_a_worker_whose_restart_fails_to_prepare_computes_nothing(tmp_path: Path) -> None:
    environment = {"BAYESXS_TOY_FOLDER": str(tmp_path)}
    with local_cluster(1, environment, toys.broken_after_restart) as client:
        os.kill(workers(client)[0], signal.SIGKILL)
        results, tasks = Results(tmp_path / "results"), variants("never", 1)
        # the lost worker may still be listed, so that the task waits for the next one
        outcome = work(tasks, toys.numbers, toys.Shared(tmp_path), results, cluster=client)
    assert "RuntimeError: no such device" in outcome.failed["never-0"]
    assert outcome.done == 0


def test_a_worker_killed_while_it_starts_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_cluster, "_RESTART_S", 2.0)
    with local_cluster(1) as client:
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            for pid in workers(client):
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        results = Results(tmp_path / "results")
        outcome = work(TASKS[:3], toys.numbers, toys.Shared(tmp_path), results, cluster=client)
    assert outcome == Outcome(done=3, reused=0, failed={})


def start(folder: Path, marks: Path, pause: float) -> subprocess.Popen[str]:
    marks.mkdir(exist_ok=True)
    arguments = [str(folder), str(marks), "2", str(COUNT), str(pause)]
    process = subprocess.Popen(
        [sys.executable, str(DRIVER), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def wait_until(condition: object, seconds: float = 60.0) -> None:
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_killed_client_leaves_a_folder_to_go_on_from(
    two: Client, tmp_path: Path, expected: dict[str, np.ndarray]
) -> None:
    results, rng = Results(tmp_path / "results"), random.Random(5)
    for least in (1, 24):
        process = start(results.folder, tmp_path / "marks", 0.03)
        wait_until(lambda least=least: stored(results.folder) >= least)
        time.sleep(rng.uniform(0, 0.2))
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.communicate(timeout=60)
        _, alive = psutil.wait_procs(children, timeout=30)
        assert alive == []
    before = sum(results.has(task) for task in TASKS)
    outcome = work(TASKS, toys.numbers, toys.Shared(tmp_path), results, cluster=two)
    assert (outcome.reused, outcome.done) == (before, COUNT - before)
    assert before >= 24
    check(results, expected)


@pytest.mark.parametrize("moment", ["start", "work"])
def test_ctrl_c_ends_within_seconds_and_quietly(tmp_path: Path, moment: str) -> None:
    process = start(tmp_path / "results", tmp_path / "marks", 20.0)
    if moment == "start":
        time.sleep(0.5)
    else:
        wait_until(lambda: toys.marks(tmp_path / "marks", "unpickled"))
    children = psutil.Process(process.pid).children(recursive=True)
    begin = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - begin < 15
    assert (process.returncode, errors) == (130, "")
    assert psutil.wait_procs(children, timeout=10)[1] == []
