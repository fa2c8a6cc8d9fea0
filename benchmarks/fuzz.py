"""Mutated input files against every reader: used, or refused in one line, and nothing else.

    python benchmarks/fuzz.py [INPUTS] [SEED] [READER ...]

A fault is a traceback, a message that is no line of at most 300 printable characters, more than
two seconds or a gigabyte, or a value that is nonsense. A reader is a row of `READERS`: examples of
its file, a function of a path, and what holds of all that it returns.
"""

from __future__ import annotations

import io
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import jax
import numpy as np

from bayesxs.cards.card import Card, load_card, to_toml
from bayesxs.cards.overrides import parse_overrides
from bayesxs.errors import LINE, InputError
from bayesxs.experiment.weights import read_networks, write_networks
from bayesxs.inputs.counts import MOST_EVENTS, has_edges, load_counts, load_table
from bayesxs.inputs.covariance import flux_modes, load_covariance
from bayesxs.inputs.events import load_events
from bayesxs.inputs.flux import Flux, load_csv_flux, load_globes_flux
from bayesxs.inputs.fluxroot import load_root_flux
from bayesxs.inputs.lhagrid import read_lhagrid
from bayesxs.learning.network import Architecture, create_network
from bayesxs.storage.atomic import read_json, write_json
from bayesxs.storage.run_folder import RunFolder, content_key

SECONDS, BYTES = 2.0, 1_000_000_000
SPICES = [
    *(b"nan", b"inf", b"-1", b"-0.0", b"1e16", b"1e300", b"1e400", b"1e-320", b"0x10", b"9" * 5000),
    *(
        b"\0",
        b"\x1b[31m",
        b"\x1b[2J",
        b"\r",
        b"\n",
        b"\x0b",
        b"\x0c",
        b"\x85",
        b"\xff\xfe",
        b"\xc3",
    ),
    *("\u202e\u2028é∞".encode(), b'"', b"'", b"#", b"%", b"[" * 3000, b"{a=" * 300, b"a." * 3000),
    *(b"A: [", b"&a *a", b",", b";", b"\t", b"---", b"1,5", b"1D+300", b"true", b"..", b"=", b":"),
]

PLACES = np.linspace(0.0, 20.0, 41)
AXES = {"lepton_energy_GeV": np.linspace(0.1, 10.0, 6), "z": np.linspace(0.0, 1.0, 5)}


@dataclass(frozen=True)
class Reader:
    """A reader: examples of its file, the call, and what holds of what it returns."""

    suffix: str
    examples: tuple[bytes, ...]
    read: Callable[[Path], Any]
    sane: Callable[[Any], bool]


def _lines(*lines: str) -> bytes:
    return ("\n".join(lines) + "\n").encode()


COUNTS = _lines(
    "lepton_energy_GeV,z,counts,n", *(f"{e},{z},7,a" for e in (1, 3, 5) for z in (0.1, 0.6))
)
BINS = _lines(
    "lepton_energy_GeV_low,lepton_energy_GeV_high,z_low,z_high,counts",
    *(f"{i},{i + 1},{j / 4},{j / 4 + 0.25},{i + j}" for i in range(5) for j in range(4)),
)
EVENTS = _lines(
    "lepton_energy_GeV,cos_theta,run", *(f"{0.5 + 0.1 * i:.3f},0.9,{i}" for i in range(30))
)
CSV = _lines(
    "# made by hand", "energy,nu_mu,anti_nu_mu", *(f"{0.25 * i},{i}e-9,2e-11" for i in range(1, 30))
)
EDGES = _lines(
    "e_low;e_high;numu;numu_err", *(f"{i / 4};{i / 4 + 0.25};{i}.5D-9;x" for i in range(20))
)
GLOBES = _lines(
    "# E e m t", *(f"{0.25 * i:.4f} 1e-10 {i}e-9 0 1e-11 2e-11 0 # c" for i in range(1, 25))
)
MATRIX = 0.01 * np.exp(-0.5 * np.subtract.outer(np.arange(4.0), np.arange(4.0)) ** 2)
MATRIX_EDGES = np.array([0.25, 1.0, 2.0, 4.0, 10.0])
COVARIANCE = _lines(
    "# relative",
    "energy_low_GeV,energy_high_GeV,c1,c2,c3,c4",
    *(
        ",".join(map(repr, map(float, (MATRIX_EDGES[i], MATRIX_EDGES[i + 1], *MATRIX[i]))))
        for i in range(4)
    ),
)
INFO = _lines(
    'SetDesc: "Toy"', "Authors: a", "Format: lhagrid1 # yes", "NumMembers: 1",
    "Flavors: [-1,", " 1,2,21]", "ForcePositive: 1", "Interpolator: logcubic",
    "AlphaS_Qs: [1.3, 2,", " 100]",
)  # fmt: skip
GRID = _lines(
    "PdfType: central", "Format: lhagrid1", "---", "1e-4 1e-3 0.01 0.1 1", "1.3 2 4", "-1 1 2 21",
    *["1.0 2e-3 -3.0 0.5"] * 15, "---",
)  # fmt: skip
CARD = to_toml(Card()).encode()
OVERRIDES = (
    b"far.events=1000",
    b'priors.dm31={type="flat",low=2e-3,high=3e-3}',
    b"sample=[{flavor_out='e'}]",
)


def _npz() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, energy_edges_GeV=MATRIX_EDGES, covariance=MATRIX)
    return stream.getvalue()


def _root() -> bytes:
    import uproot

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flux.root"
        with uproot.recreate(path) as root:
            root["numu"] = (np.ones(4), MATRIX_EDGES)
        return path.read_bytes()


def _override(path: Path) -> Card:
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    parse_overrides([text])
    return load_card(overrides=parse_overrides([text]))


def _counts(path: Path) -> Any:
    return load_table(path).counts if has_edges(path) else load_counts(path, AXES)


def _set(part: str) -> Callable[[Path], Any]:
    def read(path: Path) -> Any:
        folder = path.parent / "Toy"
        folder.mkdir(exist_ok=True)
        content = path.read_bytes()
        (folder / "Toy.info").write_bytes(content if part == "info" else INFO)
        (folder / "Toy_0000.dat").write_bytes(content if part == "grid" else GRID)
        return read_lhagrid(folder)

    return read


CONDITIONS = {"beam": "neutrino", "energy_min_GeV": 0.5, "energy_max_GeV": 10.0}
SUMMARY = b'{"learned": {"dm31": {"mean": 2.5e-3, "hdi68": [2.4e-3, 2.6e-3], "unit": "eV2"}}}'


def _weights() -> bytes:
    kind = Architecture(layers=1, width=8, precision="float32")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.safetensors"
        network = create_network(kind, jax.random.key(0))
        write_networks(path, {"mu": [network]}, CONDITIONS)
        return path.read_bytes()


def _sane_weights(networks: Any) -> bool:
    values = networks["mu"](np.array([0.01, 0.5]), np.array([0.1, 3.0]))
    return bool(np.all(np.isfinite(np.asarray(values))))


def _run_folder(path: Path) -> Path:
    with (
        RunFolder.create(path) as folder,
        folder.stage("train", content_key("train", sections={})) as stage,
    ):
        write_json(stage.output("a.json"), {"a": [1, 2.5, None]})
    return path / "manifest.json"


def _manifest() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return _run_folder(Path(folder) / "run").read_bytes()


def _view(path: Path) -> RunFolder:
    run = path.parent / "run"
    if not run.exists():
        _run_folder(run)
    (run / "manifest.json").write_bytes(path.read_bytes())
    folder = RunFolder.view(run)
    for stage in folder.stages:
        folder.check_outputs(stage)
    return folder


def _sane_flux(flux: Flux) -> bool:
    values = np.stack([flux(pdg, PLACES) for pdg in (12, 14, -14)])
    return bool(np.all(np.isfinite(values)) and np.all(values >= 0.0))


def _sane_events(events: Any) -> bool:
    energy, cosine = events.lepton_energy, events.cos_theta
    return bool(np.all(np.isfinite(energy)) and np.all(energy > 0.1) and np.all(abs(cosine) <= 1.0))


def _sane_covariance(covariance: Any) -> bool:
    inner = np.linspace(covariance.edges[0], covariance.edges[-1], 5)
    return bool(np.all(np.isfinite(flux_modes(covariance, inner))))


READERS: dict[str, Reader] = {
    "card": Reader(".toml", (CARD,), load_card, lambda card: bool(to_toml(card))),
    "override": Reader(".txt", OVERRIDES, _override, lambda card: bool(to_toml(card))),
    "counts": Reader(".csv", (COUNTS, BINS), _counts, lambda n: bool(0.0 < n.sum() <= MOST_EVENTS)),
    "events": Reader(".csv", (EVENTS,), lambda p: load_events(p, [0.105658]), _sane_events),
    "csvflux": Reader(".csv", (CSV, EDGES), load_csv_flux, _sane_flux),
    "globes": Reader(".txt", (GLOBES,), load_globes_flux, _sane_flux),
    "rootflux": Reader(".root", (_root(),), lambda p: load_root_flux(f"{p}:numu"), _sane_flux),
    "covcsv": Reader(".csv", (COVARIANCE,), load_covariance, _sane_covariance),
    "covnpz": Reader(".npz", (_npz(),), load_covariance, _sane_covariance),
    "lhainfo": Reader(".info", (INFO,), _set("info"), lambda g: g.force_positive in (0, 1, 2)),
    "lhagrid": Reader(".dat", (GRID,), _set("grid"), lambda g: bool(np.all(np.isfinite(g.values)))),
    "weights": Reader(
        ".safetensors", (_weights(),), lambda p: read_networks(p, ["mu"], CONDITIONS), _sane_weights
    ),
    "manifest": Reader(".json", (_manifest(),), _view, lambda run: "/" not in "".join(run.stages)),
    "summary": Reader(".json", (SUMMARY,), read_json, lambda content: content is not None),
}


def mutate(content: bytes, random: Random) -> bytes:
    """Return a file with one to four changes of bytes, words, lines or lengths."""
    for _ in range(random.choice((1, 1, 2, 4))):
        start = random.randrange(len(content) + 1)
        stop = min(len(content), start + random.choice((0, 1, 1, 4, 30)))
        spice = random.choice(SPICES)
        lines = content.split(b"\n")
        line = random.randrange(len(lines))
        kind = random.randrange(9)
        if kind == 0:
            content = content[:start] + spice + content[stop:]
        elif kind == 1:
            content = content[:start] + bytes([random.randrange(256)]) + content[start + 1 :]
        elif kind == 2:
            content = content[:start] + content[stop:]
        elif kind == 3:
            content = content[:start]
        elif kind == 4:
            content = (
                content[:start] + content[start:stop] * random.choice((2, 9, 2000)) + content[stop:]
            )
        elif kind == 5:
            lines[line] = random.choice((b"", lines[line] * 2, spice))
            content = b"\n".join(lines)
        elif kind == 6:
            lines.insert(line, lines[random.randrange(len(lines))])
            content = b"\n".join(lines)
        elif kind == 7:
            mark = random.choice((b",", b" ", b".", b"\n", b"1", b"="))
            content = content.replace(mark, spice[:8], random.choice((1, 3, -1)))
        else:
            words = content.split(b",")
            words[random.randrange(len(words))] = spice
            content = b",".join(words)
        content = content[:2_000_000]
    return content


class TooSlow(BaseException):
    """A reader took longer than a user waits."""


@contextmanager
def _limited() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 5 * SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def fault(reader: Reader, path: Path) -> str:
    """Return what is wrong with how a file is read, empty if nothing is."""
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    try:
        with _limited(), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            if not reader.sane(reader.read(path)):
                return "nonsense accepted"
    except InputError as error:
        message = str(error)
        if not message.isprintable() or len(message) > LINE:
            return "message that is no bounded printable line"
        if len(message) < 10:
            return f"message says nothing: {message}"
    except TooSlow:
        return "hang"
    except Exception as error:
        frame = error.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        place = f"{Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}" if frame else ""
        return f"traceback: {type(error).__name__} at {place}: {str(error)[:80]!r}"
    if time.process_time() - start > SECONDS:
        return f"more than {SECONDS:g} seconds"
    if 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) > BYTES:
        return "more than a gigabyte"
    return ""


def search(name: str, inputs: int, seed: int, folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield each fault of a reader over mutated files, with the file."""
    reader = READERS[name]
    random = Random(f"{name} {seed}")
    path = folder / f"input{reader.suffix}"
    for _ in range(inputs):
        content = mutate(random.choice(reader.examples), random)
        path.write_bytes(content)
        found = fault(reader, path)
        if found:
            yield found, content


def main(arguments: list[str]) -> int:
    """Search; print each kind of fault once and keep a file of it; return how many there are."""
    inputs = int(arguments[0]) if arguments else 2200
    seed = int(arguments[1]) if len(arguments) > 1 else 0
    names = arguments[2:] or list(READERS)
    kept = Path(tempfile.mkdtemp(prefix="fuzz-"))
    kinds: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            start = time.perf_counter()
            count = -(-inputs // len(names))
            for found, content in search(name, count, seed, Path(folder)):
                kinds[f"{name}: {found}"] += 1
                if kinds[f"{name}: {found}"] == 1:
                    (kept / f"{name}-{len(kinds)}{READERS[name].suffix}").write_bytes(content)
                    print(f"{name}: {found}: {kept}/{name}-{len(kinds)}", flush=True)
            print(f"{name}: {count} inputs in {time.perf_counter() - start:.0f} s", flush=True)
    print(f"{sum(kinds.values())} faults of {len(kinds)} kinds")
    return min(len(kinds), 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
