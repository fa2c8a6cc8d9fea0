"""NuHepMC events (arXiv:2310.13211) in HepMC3 ASCII, plain or compressed, through pyhepmc."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, cast

import numpy as np

from bayesxs.errors import InputError
from bayesxs.inputs.generators.events import Chunk
from bayesxs.inputs.generators.hepmc_events import Block, read_block
from bayesxs.inputs.generators.source import CrossSection, Progress, in_units

STEP: Final = 20_000  # events in memory at once
SUFFIXES: Final = (".hepmc3", ".hepmc")
COMPRESSED: Final = (".gz", ".bz2", ".xz")

# Process ids by hundreds, convention E.C.1
PROCESSES: Final = {1: "coh", 2: "qe", 3: "mec", 4: "res", 5: "sis", 6: "dis"}

# Where they stand in version 1 and in version 0.9 of the format
_PROCESS: Final = ("signal_process_id", "ProcID")
_UNIT: Final = "NuHepMC.Units.CrossSection.Unit"
_SCALE: Final = "NuHepMC.Units.CrossSection.TargetScale"
_FLUX_AVERAGED: Final = "NuHepMC.FluxAveragedTotalCrossSection"
_ESTIMATE: Final = "GenCrossSection"

_START, _END = b"HepMC::Asciiv3-START_EVENT_LISTING", b"HepMC::Asciiv3-END_EVENT_LISTING"
_EVENT: Final = b"\nE "
_BUFFER: Final = 1 << 20

# What archives raise that were cut off or changed
_DAMAGED: Final = (EOFError, zlib.error, lzma.LZMAError)
_HEADER: Final = 256


class NuHepMCSource:
    """Events of one file; see `bayesxs.inputs.generators.source.Source`."""

    format = "NuHepMC"

    def __init__(self, path: str) -> None:
        self.path = path
        self._names: list[str] = []
        self._attributes: dict[str, str] = {}
        self._estimate: str | None = None  # as the last event has it, convention E.C.4

    @property
    def channels(self) -> Sequence[str]:
        """Names of the processes that were met."""
        return self._names

    def chunks(self, progress: Progress) -> Iterator[Chunk]:
        """Yield the events; see `Source.chunks`."""
        pyhepmc = _library(self.path)
        with _opened(self.path) as watched, _silent(pyhepmc):
            block, done, weight = Block(), 0, 0
            for event in pyhepmc.open(io.BufferedReader(watched, _BUFFER), format="HepMC3"):
                if not done:
                    weight = self._read_header(event)
                contents = pyhepmc.GenEventData()
                event.write_data(contents)
                block.add(event, contents)
                done += 1
                if len(block) == STEP:
                    yield self._chunk(block, done, weight)
                    block = Block()
                    progress(watched.share, done)
            watched.finish(done)
            if len(block):
                yield self._chunk(block, done, weight)
            progress(1.0, done)

    def _read_header(self, event: Any) -> int:
        """Keep the attributes of the run; return the place of the central weight."""
        run = event.run_info
        self._attributes = {name: _text(value) for name, value in run.attributes.items()}
        names = list(run.weight_names)
        return names.index("CV") if "CV" in names else 0

    def _chunk(self, block: Block, done: int, weight: int) -> Chunk:
        last = block.attributes[-1]
        self._estimate = last.get(_ESTIMATE, self._estimate)
        codes = np.array([self._channel(attributes) for attributes in block.attributes])
        return read_block(block, self.path, done - len(block), codes, weight)

    def _channel(self, attributes: dict[str, str]) -> int:
        text = next((attributes[key] for key in _PROCESS if key in attributes), None)
        if text is None:
            return -1
        name = self._attributes.get(f"NuHepMC.ProcessInfo[{text}].Name", text)
        if "E.C.1" in self._attributes.get("NuHepMC.Conventions", "") and text.isdigit():
            name = PROCESSES.get(int(text) // 100, "other")
        if name not in self._names:
            self._names.append(name)
        return self._names.index(name)

    def cross_section(self, weights: float) -> CrossSection | None:
        """Return what a unit of weight stands for; see `Source.cross_section`.

        The total is that of the run (convention G.C.5), or the estimate of the last event (E.C.4).
        """
        text = self._attributes.get(_FLUX_AVERAGED)
        if text is None:
            text = self._estimate.split()[0] if self._estimate else None
        if text is None or not weights > 0.0:
            return None
        unit, scale = self._attributes.get(_UNIT), self._attributes.get(_SCALE)
        for key, value in ((_UNIT, unit), (_SCALE, scale)):
            if value is None:
                allowed = "is given, as the file has a cross section"
                raise InputError.at(self.path, key, "missing", allowed)
        size, per_atom = in_units(_number(self.path, text), str(unit), str(scale), self.path)
        return CrossSection(size / weights, per_atom, f"{float(text):.6g} {unit} {scale}")


def _number(path: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not 0.0 < value < np.inf:
        raise InputError.at(path, "cross section", text, "a number above zero")
    return value


def _text(attribute: Any) -> str:
    return str(attribute.astype(str)) if hasattr(attribute, "astype") else str(attribute)


def _library(path: str) -> Any:
    try:
        import pyhepmc
    except ImportError:
        wanted = "pip install 'bayesxs[generators]'"
        raise InputError(f"{path}: reading NuHepMC needs pyhepmc: {wanted}") from None
    return pyhepmc


@contextmanager
def _silent(pyhepmc: Any) -> Iterator[None]:
    """Keep the library from printing: what is wrong becomes a message here."""
    setup = pyhepmc.Setup
    before = setup.print_errors, setup.print_warnings, setup.debug_level
    setup.print_errors, setup.print_warnings, setup.debug_level = False, False, 0
    try:
        yield
    finally:
        setup.print_errors, setup.print_warnings, setup.debug_level = before


class _Watched(io.RawIOBase):
    """A file as the parser reads it: how many events begin in it, and whether it has its end.

    The parser stops without a word where a file is damaged, and swallows exceptions.
    """

    def __init__(self, path: str, stream: IO[bytes], compressed: IO[bytes]) -> None:
        super().__init__()
        self._path, self._stream, self._compressed = path, stream, compressed
        self._size = max(Path(path).stat().st_size, 1)
        self._tail = b""
        self._events = 0
        self._failure: str | None = None

    @property
    def share(self) -> float:
        """The part of the file that was read."""
        return min(self._compressed.tell() / self._size, 1.0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            piece = self._stream.read(len(buffer))
        except (OSError, ValueError, *_DAMAGED) as error:
            self._failure = type(error).__name__
            return 0
        buffer[: len(piece)] = piece
        # What lies on the edge of two pieces counts once
        self._events += (self._tail[-2:] + piece).count(_EVENT)
        self._tail = (self._tail + piece)[-2 * len(_END) :]
        return len(piece)

    def finish(self, events: int) -> None:
        """Check, after the parser's last event, that it has read all there is.

        Raises:
            InputError: it has not: the file is damaged or truncated, or holds no event.
        """
        while self._failure is None and self.readinto(bytearray(_BUFFER)):
            pass
        if self._failure or _END not in self._tail or self._events != events:
            reason = self._failure or f"damaged or truncated after event {events - 1}"
            raise InputError(f"{self._path}: cannot be read as NuHepMC: {reason}")
        if not events:
            raise InputError(f"{self._path}: no events")


@contextmanager
def _opened(path: str) -> Iterator[_Watched]:
    openers: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    opener = openers.get(Path(path).suffix)
    try:
        with Path(path).open("rb") as raw:
            stream = raw if opener is None else cast(IO[bytes], opener(raw, "rb"))
            with stream:
                start = stream.read(_HEADER)
                if _START not in start:
                    raise InputError(f"{path}: not HepMC3 ASCII: expected {_START.decode()}")
                stream.seek(0)
                yield _Watched(path, stream, raw)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or 'damaged'}") from None
    except (*_DAMAGED, ValueError, RuntimeError) as error:  # the library's own, of what it parses
        reason = type(error).__name__
        raise InputError(f"{path}: cannot be read as NuHepMC: {reason}: damaged") from None
