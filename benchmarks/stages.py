"""Tell where the time of `bayesxs run` goes: stage by stage, cold and with kept programs.

Each run is a process of its own. JAX tells how long it traces and compiles (`jax.monitoring`);
calls that draw, and those that read or write files, are clocked; the rest of a stage is computing.
Seconds of processors stand beside those of the clock: if others work, they alone can be compared.
"""

from __future__ import annotations

import argparse
import functools
import os
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shared import answer, machine, markdown, say, work

SORTS = ("tracing", "compiling", "drawing", "files")
_EVENTS = {
    "/jax/core/compile/jaxpr_trace_duration": "tracing",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "tracing",
    "/jax/core/compile/backend_compile_duration": "compiling",
    "/jax/compilation_cache/cache_retrieval_time_sec": "",
}
# What draws, and what reads or writes, by module
_CALLS = {
    "drawing": {"bayesxs.report.style": ("to_png",)},
    "files": {
        "bayesxs.storage.atomic": ("write_bytes", "write_text"),
        "bayesxs.storage.netcdf": ("write_netcdf", "read_tree", "read_dataset"),
    },
}


def processor_seconds() -> float:
    """Return the processor time of this process and of those that it waited for."""
    return sum(os.times()[:4])


class Clock:
    """Seconds by stage and sort; those of inner calls are not counted twice."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.stage = "start"
        self.seconds: dict[str, Counter[str]] = defaultdict(Counter)
        self.counts: dict[str, Counter[str]] = defaultdict(Counter)
        self.peak: Counter[str] = Counter()
        self._inner = [0.0]

    def add(self, sort: str, seconds: float) -> None:
        """Count seconds that JAX tells of; they end now."""
        self.seconds[self.stage][sort] += seconds
        self._inner[-1] += seconds

    @contextmanager
    def sort(self, name: str) -> Iterator[None]:
        """Count the block's own seconds."""
        begin = time.perf_counter()
        self._inner.append(0.0)
        try:
            yield
        finally:
            whole = time.perf_counter() - begin
            self.seconds[self.stage][name] += whole - self._inner.pop()
            self._inner[-1] += whole

    def wrap(self, sort: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, clocked."""

        @functools.wraps(function)
        def clocked(*arguments: Any, **named: Any) -> Any:
            with self.sort(sort):
                return function(*arguments, **named)

        return clocked

    def watch_memory(self) -> None:
        """Note the largest resident set of each stage, a hundred times a second (Linux only)."""
        page = os.sysconf("SC_PAGE_SIZE")

        def watch() -> None:
            while True:
                resident = int(Path("/proc/self/statm").read_text().split()[1]) * page
                self.peak[self.stage] = max(self.peak[self.stage], resident)
                time.sleep(0.01)

        threading.Thread(target=watch, daemon=True).start()


def measure(preset: str, overrides: dict[str, Any], folder: str) -> dict[str, Any]:
    """Run a card; return seconds by stage and sort, counts of programs, and memory in MB."""
    begin, clock = (time.perf_counter(), processor_seconds()), Clock()
    clock.watch_memory()
    import importlib

    for sort, modules in _CALLS.items():
        for module, names in modules.items():
            place = importlib.import_module(module)
            for name in names:
                setattr(place, name, clock.wrap(sort, getattr(place, name)))
    from bayesxs.storage.netcdf import TreeWriter

    TreeWriter.write = clock.wrap("files", TreeWriter.write)  # type: ignore[method-assign]
    from bayesxs.cards.card import load_card
    from bayesxs.session import prepare_run

    card = load_card(preset=preset, overrides=overrides)
    prepare_run(card.sampler.chains)
    import jax

    def told(event: str, seconds: float, **_: Any) -> None:
        if _EVENTS.get(event):
            clock.add(_EVENTS[event], seconds)

    def counted(event: str, **_: Any) -> None:
        clock.counts[clock.stage][event.rsplit("/", 1)[-1]] += 1

    jax.monitoring.register_event_duration_secs_listener(told)
    jax.monitoring.register_event_listener(counted)
    from bayesxs.runs import pipeline

    wall: dict[str, tuple[float, float]] = {}
    inner = pipeline.Analysis._run

    def run(self: pipeline.Analysis, name: str, stage: Any) -> None:
        _close(clock, wall, "between", last[0])
        last[0] = (time.perf_counter(), processor_seconds())
        clock.stage = name
        inner(self, name, stage)
        _close(clock, wall, name, last[0])
        last[0] = (time.perf_counter(), processor_seconds())
        clock.stage = "between"

    _close(clock, wall, "start", begin)
    last = [(time.perf_counter(), processor_seconds())]
    clock.stage = "between"
    pipeline.Analysis._run = run  # type: ignore[method-assign]
    pipeline.run(card, Path(folder), progress=False)
    _close(clock, wall, "between", last[0])
    return {
        "wall": wall,
        "seconds": clock.seconds,
        "counts": clock.counts,
        "peak": {name: size / 1e6 for name, size in clock.peak.items()},
    }


def _close(
    clock: Clock, wall: dict[str, tuple[float, float]], name: str, begin: tuple[float, float]
) -> None:
    old = wall.get(name, (0.0, 0.0))
    now = (time.perf_counter(), processor_seconds())
    wall[name] = (old[0] + now[0] - begin[0], old[1] + now[1] - begin[1])


def rows(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return a row for each stage, and the sums."""
    out, sums = [], Counter[str]()
    for name, (seconds, busy) in found["wall"].items():
        own = found["seconds"].get(name, {})
        parts = {sort: own.get(sort, 0.0) for sort in SORTS}
        parts["computing"] = max(0.0, seconds - sum(parts.values()))
        counts = found["counts"].get(name, {})
        parts |= {
            "clock": seconds,
            "processor": busy,
            "programs": counts.get("compile_requests_use_cache", 0),
            "missed": counts.get("cache_misses", 0),
        }
        sums.update(parts)
        out.append(_row(name, parts, found["peak"].get(name, 0.0)))
    return [*out, _row("all", sums, max(found["peak"].values()))]


def _row(name: str, parts: Any, peak: float) -> tuple[str, ...]:
    seconds = (*SORTS, "computing", "clock", "processor")
    return (
        name,
        *(f"{parts[sort]:.1f}" for sort in seconds),
        f"{parts['programs']:.0f}",
        f"{parts['missed']:.0f}",
        f"{peak:.0f}",
    )


def main() -> None:
    """Measure a cold run, then one of another seed, or be a worker that does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="default")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help="keep runs and compiled programs here")
    parser.add_argument("--result", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        from bayesxs.cards.overrides import parse_overrides

        found = measure(options.preset, parse_overrides(options.overrides), options.folder)
        answer(options.result, found)
        return
    columns = ("stage", *SORTS, "computing", "clock", "processor", "programs", "compiled", "MB")
    print(machine())
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(options.folder or scratch)
        place.mkdir(parents=True, exist_ok=True)
        for name, seed in (("cold", 0), ("another seed, programs kept", 1)):
            say(name)
            arguments = ["--preset", options.preset, "--folder", str(place / f"seed-{seed}")]
            for override in [f"seed={seed}", *options.overrides]:
                arguments += ["--set", override]
            cache = {"JAX_COMPILATION_CACHE_DIR": str(place / "programs")}
            found = work(__file__, name.split(",")[0], arguments, cache)
            if found is not None:
                print(f"\n{name}:\n\n{markdown(columns, rows(found))}", flush=True)


if __name__ == "__main__":
    main()
