"""What the benchmarks share: workers in processes of their own, the sampler, Markdown tables.

Nothing here imports JAX before a function needs it: workers set it up first.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bayesxs.session import available_cores

if TYPE_CHECKING:
    from bayesxs.inference.channel import FarChannel
    from bayesxs.inference.priors import Prior
    from bayesxs.inference.sampling import Draws, NutsSampler
    from bayesxs.physics.oscillation import OscillationParameters


def say(text: str) -> None:
    """Print a line of progress to stderr; the tables alone go to stdout."""
    print(text, file=sys.stderr, flush=True)


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with aligned columns."""
    cells = [list(columns), *map(list, rows)]
    widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    widths[-1] = 3  # the last one may hold whole sentences
    cells.insert(1, ["-" * width for width in widths])
    padded = ([c.ljust(w) for c, w in zip(row, widths, strict=True)] for row in cells)
    return "\n".join(f"| {' | '.join(row)} |" for row in padded)


def processor() -> str:
    """Return the processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def use_cores(number: int) -> None:
    """Restrict this process, and those that it starts, to some of its cores (Linux only)."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:number])


def machine() -> str:
    """Describe machine and software; the load tells whether the machine was quiet."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("jax", "numpyro"))
    return (
        f"{processor()}, {available_cores()} of {os.cpu_count()} cores, load "
        f"{os.getloadavg()[0]:.1f} at the start; Python {platform.python_version()}, {versions}"
    )


def work(
    script: str,
    task: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    limit: float | None = None,
) -> Any | None:
    """Run a task of a script in a process of its own; return its result, or None if it failed.

    Args:
        script: path of the script, which passes `--worker` on to `answer`.
        task: name of the task.
        arguments: further arguments of the script.
        environment: variables on top of this process's own.
        limit: seconds after which it is ended, and has failed.
    """
    with tempfile.TemporaryDirectory(prefix="bayesxs-benchmark-") as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, script, "--worker", task, "--result", str(result), *arguments]
        start = time.perf_counter()
        try:
            done = subprocess.run(
                command, env=os.environ | dict(environment), stdout=sys.stderr, timeout=limit
            )
        except subprocess.TimeoutExpired:
            say(f"  {task}: not done after {limit:.0f} s")
            return None
        say(f"  {task}: {time.perf_counter() - start:.1f} s")
        if done.returncode != 0 or not result.exists():
            say(f"  {task}: failed with exit code {done.returncode}")
            return None
        return json.loads(result.read_text(encoding="utf-8"))


def answer(path: str, result: Any) -> None:
    """Leave a worker's result for `work`."""
    Path(path).write_text(json.dumps(result), encoding="utf-8")


def cold_cache(folder: str) -> dict[str, str]:
    """Return variables with which JAX keeps compiled programs in a folder, empty at first."""
    return {"JAX_COMPILATION_CACHE_DIR": folder, "XDG_CACHE_HOME": folder}


def clock[T](function: Callable[[], T]) -> tuple[T, float]:
    """Return the result of a call, and its wall time in seconds."""
    import jax

    start = time.perf_counter()
    result = jax.block_until_ready(function())
    return result, time.perf_counter() - start


def median_seconds(function: Callable[..., Any], *arguments: Any, repeats: int) -> float:
    """Return the median wall time of a call in seconds, after one that compiles."""
    clock(lambda: function(*arguments))
    return statistics.median(clock(lambda: function(*arguments))[1] for _ in range(repeats))


def clock_sampler(
    make: Callable[[], NutsSampler], channels: Sequence[FarChannel]
) -> tuple[Draws, float, float]:
    """Make a sampler; return draws, the time of a first call with compilation, and of a second."""
    import jax

    start = time.perf_counter()
    sampler = make()
    draws = sampler.run((list(channels),), jax.random.key(0))
    seconds = time.perf_counter() - start
    _, again = clock(lambda: sampler.run((list(channels),), jax.random.key(1)))
    return draws, seconds, again


def clock_bootstrap(
    channels: Sequence[FarChannel],
    priors: Mapping[str, Prior],
    fixed: OscillationParameters,
    replicas: int,
) -> tuple[Any, float, float]:
    """Return the bootstrap, the time of a first call with compilation, and that of a second."""
    import jax

    from bayesxs.inference.bootstrap import bootstrap

    begin = {name: float(getattr(fixed, name)) for name in priors}

    def fit(seed: int) -> Any:
        return bootstrap(jax.random.key(seed), channels, priors, fixed, begin, replicas)

    result, seconds = clock(lambda: fit(0))
    _, again = clock(lambda: fit(1))
    return result, seconds, again
