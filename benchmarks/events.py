"""Time the readers of generator's events: a file of each format, whole and in bounded memory.

Files are made first, of events whose kinematics are possible though of no physics. An event of
NuHepMC has the five particles of a quasi-elastic one: the reader's time goes with their number.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from shared import machine, markdown, say

from bayesxs.constants import MUON_MASS, NUCLEON_MASS

ARGON = 1000180400
PIECE = 2000  # events of NuHepMC that are written once and repeated


def columns(events: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    energy = rng.uniform(0.5, 6.0, events)
    lepton = rng.uniform(MUON_MASS + 0.01, energy)
    return {"Ev": energy, "El": lepton, "cthl": rng.uniform(-1.0, 1.0, events)}


def write_trees(folder: Path, events: int) -> None:
    import uproot

    made = columns(events)
    ones = np.ones(events, np.int32)
    gst = {
        **made,
        "pl": np.sqrt(made["El"] ** 2 - MUON_MASS**2),
        "neu": 14 * ones,
        "fspl": 13 * ones,
        "tgt": ARGON * ones,
        "wght": np.ones(events),
        "cc": ones > 0,
        **{flag: ones > 0 for flag in ("qel", "mec", "res", "dis", "coh")},
    }
    names = {"Enu_true": "Ev", "ELep": "El", "CosLep": "cthl"}
    flat = {
        **{name: made[own].astype(np.float32) for name, own in names.items()},
        "PDGnu": 14 * ones,
        "PDGLep": 13 * ones,
        "tgt": ARGON * ones,
        "Mode": ones,
        "cc": ones.astype(np.int8),
        "Weight": np.ones(events, np.float32),
        "fScaleFactor": np.full(events, 1e-41),
    }
    for file, name, content in (("gst", "gst", gst), ("flat", "FlatTree_VARS", flat)):
        with uproot.recreate(folder / f"{file}.root") as root:
            root.mktree(name, {branch: values.dtype for branch, values in content.items()})
            root[name].extend(content)


def write_nuhepmc(folder: Path, events: int) -> None:
    """Write a piece in HepMC3's own text, and repeat it."""
    made = columns(PIECE)
    text = []
    for i, (energy, lepton, cosine) in enumerate(zip(*made.values(), strict=True)):
        momentum = np.sqrt(lepton**2 - MUON_MASS**2)
        across, along = momentum * np.sqrt(1.0 - cosine**2), momentum * cosine
        hadron = energy + NUCLEON_MASS - lepton
        rows = (
            (1, 0, ARGON, 0.0, 0.0, 0.0, 37.2, 20),
            (2, -1, 2112, 0.0, 0.0, 0.0, NUCLEON_MASS, 2),
            (3, 0, 14, 0.0, 0.0, energy, energy, 4),
            (4, -2, 2212, -across, 0.0, energy - along, hadron, 1),
            (5, -2, 13, across, 0.0, along, lepton, 1),
        )
        lines = [
            f"P {n} {v} {pid} {x:.16e} {y:.16e} {z:.16e} {e:.16e} 0 {status}"
            for n, v, pid, x, y, z, e, status in rows
        ]
        lines.insert(1, "V -1 21 [1]")
        lines.insert(4, "V -2 1 [2,3]")
        head = [f"E {i} 2 5", "U GEV MM", "W 1.0", "A 0 signal_process_id 200"]
        text.append("\n".join([*head, *lines]))
    piece = "\n".join(text) + "\n"
    with (folder / "events.hepmc3").open("w") as file:
        file.write("HepMC::Version 3.03.01\nHepMC::Asciiv3-START_EVENT_LISTING\nW CV\n")
        file.write("A NuHepMC.Conventions E.C.1\n")
        for _ in range(events // PIECE):
            file.write(piece)
        file.write("HepMC::Asciiv3-END_EVENT_LISTING\n")


def convert(folder: Path) -> None:
    import pyarrow.csv
    import pyarrow.parquet

    command = [sys.executable, "-m", "bayesxs", "events", "convert", "-q"]
    subprocess.run([*command, folder / "gst.root", folder / "events.parquet"], check=True)
    table = pyarrow.parquet.read_table(folder / "events.parquet")
    pyarrow.csv.write_csv(table, folder / "events.csv")


def worker(path: str, whole: bool) -> None:
    """Read one file in this process; print events, seconds and megabytes."""
    import pyhepmc  # noqa: F401
    import uproot  # noqa: F401

    from bayesxs.inputs.generators.read import EventStream, read_events

    start, used = time.perf_counter(), time.process_time()
    read = read_events(path) if whole else sum(len(c.energy) for c in EventStream(path))
    seconds, busy = time.perf_counter() - start, time.process_time() - used
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(len(read) if whole else read, seconds, busy, megabytes)  # type: ignore[arg-type]


def measured(path: Path, whole: bool) -> tuple[int, float, float, float]:
    command = [sys.executable, __file__, "--worker", str(path), *(["--whole"] if whole else [])]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return int(text[0]), float(text[1]), float(text[2]), float(text[3])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--whole", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker, options.whole)
        return
    print(f"{machine()}\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        say("making the files")
        write_trees(folder, options.events)
        write_nuhepmc(folder, options.events)
        convert(folder)
        rows = []
        for path in sorted(folder.iterdir()):
            say(f"reading {path.name}")
            events, seconds, busy, whole = measured(path, True)
            *_, pieces = measured(path, False)
            size = f"{path.stat().st_size / 1e6:.0f} MB"
            memory = f"{whole:.0f} MB; in pieces {pieces:.0f} MB"
            rows.append((path.name, str(events), size, f"{seconds:.2f} s", f"{busy:.2f} s", memory))
    print(markdown(("file", "events", "size", "time", "on processors", "peak memory"), rows))


if __name__ == "__main__":
    main()
