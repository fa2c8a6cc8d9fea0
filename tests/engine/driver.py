"""Run toy tasks as a process of its own: driver.py FOLDER MARKS WORKERS TASKS PAUSE."""

from __future__ import annotations

import sys
from pathlib import Path

import toys

from bayesxs.engine.cluster import local_cluster
from bayesxs.engine.results import Results
from bayesxs.engine.work import work


def main() -> int:
    folder, marks, workers, tasks, pause = sys.argv[1:]
    shared = toys.Shared(Path(marks), float(pause))
    print("ready", flush=True)
    try:
        with local_cluster(int(workers)) as client:
            todo = toys.some_tasks(int(tasks))
            print(work(todo, toys.numbers, shared, Results(Path(folder)), cluster=client))
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
