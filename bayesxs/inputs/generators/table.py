"""Events in tables: Parquet, the package's own format for them, CSV and NPZ."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bayesxs.errors import InputError
from bayesxs.inputs.generators.events import (
    UNKNOWN,
    Chunk,
    channel_names,
    make_chunk,
)
from bayesxs.inputs.generators.source import CrossSection, Progress
from bayesxs.inputs.npz import array_names, read_arrays, read_names

ENERGY, LEPTON_ENERGY, COSINE = NEEDED = ("E_nu_GeV", "E_l_GeV", "cos_theta")
NUMBERS: Final = (*NEEDED, "weight", "pdg_nu", "pdg_l", "target")
CHANNEL: Final = "channel"
COLUMNS: Final = (*NUMBERS, CHANNEL)

# Of a table that does not name its neutrinos, where no other is asked for
DEFAULT_NEUTRINO: Final = 14

STEP: Final = 250_000  # rows in memory at once
MOST_CHANNELS: Final = 1000
_BLOCK: Final = 1 << 24  # bytes of a CSV file in memory at once
_MAX_HEADER: Final = 100_000
_MAX_NPZ: Final = 2_000_000_000  # bytes, unpacked

# Metadata of the package's own Parquet files
META: Final = b"bayesxs.events"
PER_NUCLEON: Final = "cross_section_1e-38cm2_per_nucleon"
WEIGHTS: Final = "sum_of_weights"

# What some arrays are called; the order of NEEDED
_SHORT: Final = dict(zip(NEEDED, ("E_nu", "E_l", "cos_theta"), strict=True))


class _Table:
    """A table of events, in any of the three formats."""

    format = "table"

    def __init__(self, path: str, neutrino: int | None = None) -> None:
        """Take a file, and the neutrino of events that do not name theirs."""
        self.path = path
        self._neutrino = DEFAULT_NEUTRINO if neutrino is None else neutrino
        self._names: list[str] = []
        self._scale: CrossSection | None = None

    @property
    def channels(self) -> Sequence[str]:
        """Names of the channels that were met."""
        return self._names

    def cross_section(self, weights: float) -> CrossSection | None:
        """Return what a unit of weight stands for; see `Source.cross_section`."""
        return self._scale

    def _chunk(self, columns: Mapping[str, ArrayLike], channel: ArrayLike) -> Chunk:
        """Make events of columns; ids that a file leaves empty are refused."""
        ids: dict[str, ArrayLike] = {}
        for name, missing in (("pdg_nu", self._neutrino), ("pdg_l", None), ("target", UNKNOWN)):
            values = columns.get(name, missing)
            if values is None:
                continue
            numbers = np.asarray(values, float)
            if not np.isfinite(numbers).all():
                raise InputError.at(self.path, name, "empty or not a number", "a PDG id each")
            if np.any(broken := numbers != np.round(numbers)):
                first = np.atleast_1d(numbers)[np.argmax(broken)]
                raise InputError.at(self.path, name, f"{first:g}", "a PDG id each, an integer")
            ids[name] = values
        return make_chunk(
            *(columns[name] for name in NEEDED),
            weight=columns.get("weight"),
            channel=channel,
            pdg_nu=ids["pdg_nu"],
            pdg_l=ids.get("pdg_l"),
            target=ids["target"],
        )

    def _require(self, held: Sequence[str], aliases: Mapping[str, str]) -> None:
        for name in NEEDED:
            if name not in held and aliases.get(name) not in held:
                raise InputError.at(self.path, "columns", ", ".join(held), f"{name} is missing")

    def _batch(self, batch: Any) -> Chunk:
        """Make events of a pyarrow.RecordBatch."""
        import pyarrow
        import pyarrow.compute as pc

        columns: dict[str, NDArray[Any]] = {}
        for name in NUMBERS:
            if name not in batch.schema.names:
                continue
            values = batch.column(name)
            if not _is_number(values.type):
                raise InputError.at(self.path, f"{name}: type", values.type, "numbers")
            columns[name] = values.cast(pyarrow.float64()).to_numpy(zero_copy_only=False)
        channel: ArrayLike = -1
        if CHANNEL in batch.schema.names:
            texts = batch.column(CHANNEL).cast(pyarrow.string()).dictionary_encode()
            found = [str(name) for name in texts.dictionary.to_pylist()]
            places = channel_names(found, self._names)
            if len(self._names) > MOST_CHANNELS:
                allowed = f"at most {MOST_CHANNELS}"
                raise InputError.at(self.path, "channels", len(self._names), allowed)
            indices = pc.fill_null(texts.indices, -1).to_numpy(zero_copy_only=False)
            channel = np.append(places, -1)[indices]  # the last one of those that have none
        return self._chunk(columns, channel)


class ParquetSource(_Table):
    """Events of a Parquet file; see `bayesxs.inputs.generators.source.Source`."""

    format = "Parquet"

    def chunks(self, progress: Progress) -> Iterator[Chunk]:
        """Yield the events; see `Source.chunks`."""
        import pyarrow.parquet as pq

        with _arrow(self.path, "Parquet"), pq.ParquetFile(self.path) as file:
            held = file.schema_arrow.names
            self._require(held, {})
            self._scale = self._own_scale(file.metadata.metadata or {})
            done, total = 0, max(file.metadata.num_rows, 1)
            wanted = [name for name in COLUMNS if name in held]
            for batch in file.iter_batches(batch_size=STEP, columns=wanted):
                done += len(batch)
                yield self._batch(batch)
                progress(done / total, done)

    def _own_scale(self, metadata: Mapping[bytes, bytes]) -> CrossSection | None:
        try:
            meta = json.loads(metadata.get(META, b"{}"))
            value, weights = meta.get(PER_NUCLEON), float(meta.get(WEIGHTS, 0.0))
            known = value is None or (0.0 < float(value) < np.inf and 0.0 < weights < np.inf)
        except (ValueError, TypeError, AttributeError):
            known = False
        if not known:
            raise InputError(
                f"{self.path}: {META.decode()}: metadata that this package did not write"
            )
        if value is None:
            return None
        words = f"{float(value):.6g} 1e-38 cm2/nucleon"
        return CrossSection(float(value) / weights, False, words)


class CsvSource(_Table):
    """Events of a CSV file with a header line; see `bayesxs.inputs.generators.source.Source`."""

    format = "CSV"

    def chunks(self, progress: Progress) -> Iterator[Chunk]:
        """Yield the events; see `Source.chunks`."""
        import pyarrow
        import pyarrow.csv as pc

        with _arrow(self.path, "CSV"), Path(self.path).open("rb") as stream:
            size = max(Path(self.path).stat().st_size, 1)
            held = self._header(stream.readline(_MAX_HEADER))
            self._require(held, {})
            wanted = [name for name in COLUMNS if name in held]
            kinds = {name: pyarrow.float64() for name in NUMBERS}
            reader = pc.open_csv(
                stream,
                read_options=pc.ReadOptions(block_size=_BLOCK, column_names=held),
                convert_options=pc.ConvertOptions(
                    include_columns=wanted,
                    column_types={**kinds, CHANNEL: pyarrow.string()},
                ),
            )
            done = 0
            for batch in reader:
                done += len(batch)
                yield self._batch(batch)
                progress(min(stream.tell() / size, 1.0), done)

    def _header(self, line: bytes) -> list[str]:
        try:
            text = line.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise InputError(f"{self.path}: cannot be read as CSV: not text in UTF-8") from None
        names = next(csv.reader([text]), [])
        twice = next((name for name in COLUMNS if names.count(name) > 1), None)
        if twice is not None:
            raise InputError.at(self.path, "columns", ", ".join(names), f"{twice} once")
        return names


class NpzSource(_Table):
    """Events of an NPZ file; see `bayesxs.inputs.generators.source.Source`.

    Its arrays are called as columns are, or E_nu and E_l; channel_names says what numbers of
    channels mean.
    """

    format = "NPZ"

    def chunks(self, progress: Progress) -> Iterator[Chunk]:
        """Yield the events; see `Source.chunks`."""
        held = array_names(self.path)
        self._require(held, _SHORT)
        called = {name: name if name in held else _SHORT.get(name, name) for name in COLUMNS}
        wanted = [name for name in COLUMNS if called[name] in held]
        arrays = read_arrays(self.path, [called[name] for name in wanted], _MAX_NPZ)
        columns = dict(zip(wanted, arrays, strict=True))
        size = len(columns[ENERGY]) if columns[ENERGY].ndim == 1 else -1
        for name, values in columns.items():
            if values.shape != (size,):
                allowed = f"as long as {called[ENERGY]}, ({size},)"
                raise InputError.at(self.path, f"{name}: shape", values.shape, allowed)
        codes = columns.pop(CHANNEL, np.full(size, -1.0))
        self._names += read_names(self.path, "channel_names") if "channel_names" in held else []
        if not self._names and size:
            distinct, codes = np.unique(codes, return_inverse=True)
            self._names += [f"{value:g}" for value in distinct[:MOST_CHANNELS]]
        bad = ~((codes >= -1) & (codes < len(self._names)))
        if bad.any():
            where, allowed = f"event {np.argmax(bad)}: channel", f"one of {len(self._names)} names"
            raise InputError.at(self.path, where, codes[np.argmax(bad)], allowed)
        for start in range(0, size, STEP):
            rows = slice(start, start + STEP)
            part = {name: values[rows] for name, values in columns.items()}
            yield self._chunk(part, codes[rows])
            progress(min((start + STEP) / size, 1.0), min(start + STEP, size))


def _is_number(kind: Any) -> bool:
    import pyarrow.types as types

    return bool(types.is_integer(kind) or types.is_floating(kind))


@contextmanager
def _arrow(path: str, words: str) -> Iterator[None]:
    """Turn what pyarrow says of a damaged or wrong file into one line."""
    import pyarrow

    try:
        yield
    except InputError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: cannot be read as {words}: {error}") from None
