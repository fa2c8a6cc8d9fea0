"""Measure campaigns: what a batch saves, what the engine costs, what a second worker brings.

Every figure is of statistics-only pseudo-experiments of the default preset, on the CPU.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from shared import cold_cache, machine, markdown, say, use_cores


def shared_part(batch: int, information_loss: float | None = None) -> Any:
    """Return what a campaign's pseudo-experiments share, by default with bins merged."""
    import xarray as xr

    from bayesxs.campaigns.kind import sampled
    from bayesxs.cards.build import build_experiment
    from bayesxs.cards.campaign import SbcCampaign
    from bayesxs.cards.card import load_card
    from bayesxs.experiment.channels import Channels

    experiment = build_experiment(load_card())
    # Of the true cross section: nothing is read from a folder
    plan = SbcCampaign(batch=batch)
    if information_loss is not None:
        plan = plan.model_copy(update={"information_loss": information_loss})
    return sampled(Channels(experiment, None, xr.Dataset()), plan, 0)


def batches(options: argparse.Namespace) -> None:
    """Time fits in batches of several sizes, all on one core, after compilation.

    The first row is what a fit costs by itself: alone, and with every bin that events are counted
    in. The others merge bins that say the same, as campaigns do.
    """
    use_cores(1)
    rows = []
    alone = 0.0
    every, few = shared_part(1, 0.0), shared_part(1)
    for whole, size in ((every, 1), *((few, size) for size in options.sizes)):
        part = replace(whole, settings=replace(whole.settings, chains=size))
        part.run(0)
        number = max(1, options.fits // size)
        clock = time.perf_counter()
        for i in range(number):
            part.run((i + 1) * size)
        seconds = (time.perf_counter() - clock) / (number * size)
        alone = alone or seconds
        bins = sum(len(channel.weights) for channel in part.channels)
        rows.append((str(size), str(bins), f"{1e3 * seconds:.0f} ms", f"{alone / seconds:.1f}x"))
        say(f"  {rows[-1]}")
    print(markdown(("fits in a batch", "bins", "per fit", "cheaper than the first"), rows))


def engine(options: argparse.Namespace) -> None:
    """Time the same batches in a plain loop, with one worker and with two, set-up left out."""
    from bayesxs.campaigns.run import ENVIRONMENT, prepare_worker
    from bayesxs.engine.cluster import local_cluster
    from bayesxs.engine.results import Results, Task
    from bayesxs.engine.work import work
    from bayesxs.inference.pseudo_experiments import BinnedExperiment

    part = shared_part(options.batch)
    firsts = [n * options.batch for n in range(options.tasks)]
    rows = []
    for workers in (1, 2):
        seconds = {}
        with (
            tempfile.TemporaryDirectory() as folder,
            local_cluster(workers, ENVIRONMENT, prepare_worker) as client,
        ):
            # Compiles in every worker; as many tasks as workers, each on its own
            for name, tasks in (("set-up", firsts[: 2 * workers]), ("measured", firsts)):
                todo = [Task(f"{name}-{first}", name, (first,)) for first in tasks]
                clock = time.perf_counter()
                work(todo, BinnedExperiment.run, part, Results(Path(folder)), cluster=client)
                seconds[name] = time.perf_counter() - clock
        rows.append((f"{workers} worker(s)", f"{seconds['measured']:.1f} s"))
        say(f"  {rows[-1]}")
    use_cores(1)
    part.run(0)
    clock = time.perf_counter()
    for first in firsts:
        part.run(first)
    rows.append(("plain loop, one core", f"{time.perf_counter() - clock:.1f} s"))
    print(markdown((f"{options.tasks} batches of {options.batch}", "time"), rows))


def kills(options: argparse.Namespace) -> None:
    """Kill workers and the campaign itself in turn; compare the results with undisturbed ones.

    Moments are random: each comes up to two seconds after another result was stored. The scheduler
    of local workers is part of the campaign's process, and dies with it.
    """
    import psutil
    import xarray as xr

    plan = "campaign={kind='sbc', experiments=600, batch=4, warmup=50, draws=40, thin=2}"
    rng = random.Random(0)

    def start(folder: Path, cache: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "bayesxs", "campaign", "--set", plan, "--workers", "2"]
        command += ["--out", str(folder), "--resume", "--quiet"]
        return subprocess.Popen(command, env=os.environ | cold_cache(str(cache)))

    def stored(folder: Path) -> int:
        return len(list((folder / "campaign").glob("sbc-*.safetensors")))

    with tempfile.TemporaryDirectory() as scratch:
        calm, folder, cache = (Path(scratch) / name for name in ("calm", "killed", "cache"))
        assert start(calm, cache).wait() == 0
        process, killed = start(folder, cache), 0
        while killed < options.kills:
            before = stored(folder)
            while stored(folder) == before and process.poll() is None:
                time.sleep(0.05)
            time.sleep(rng.uniform(0.0, 2.0))
            if process.poll() is not None:
                break
            if killed % 2:
                process.kill()
                process.wait()
                process = start(folder, cache)
            else:
                children = psutil.Process(process.pid).children(recursive=True)
                workers = [c for c in children if "spawn_main" in " ".join(c.cmdline())]
                rng.choice(workers).kill()
            killed += 1
            say(f"  kill {killed} with {stored(folder)} batches stored")
        process.wait()
        assert start(folder, cache).wait() == 0
        pair = [xr.open_dataset(f / "campaign.nc", engine="h5netcdf") for f in (calm, folder)]
        same = pair[0].identical(pair[1])
    columns = ("kills", "batches", "results")
    print(markdown(columns, [(str(killed), "150", "identical" if same else "DIFFERENT")]))


TASKS = {"engine": engine, "batches": batches, "kills": kills}


def main() -> None:
    """Run the chosen tasks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(TASKS), help="tasks, separated by commas")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--fits", type=int, default=50, help="fits of each size, at least")
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--kills", type=int, default=20)
    options = parser.parse_args()
    from bayesxs.session import prepare_jax

    prepare_jax(1)
    print(machine())
    for name in options.only.split(","):
        print(f"\n## {name}\n")
        TASKS[name](options)


if __name__ == "__main__":
    main()
