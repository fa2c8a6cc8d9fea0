"""The package's own files of events: Parquet with what scales them in its metadata."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from bayesxs.inputs.generators.events import Chunk
from bayesxs.inputs.generators.table import COLUMNS, META, PER_NUCLEON, WEIGHTS


def write_parquet(
    path: Path,
    chunks: Iterator[Chunk],
    channels: Callable[[], Sequence[str]],
    cross_section: Callable[[], float | None],
) -> int:
    """Write events in the package's own Parquet, a chunk at a time; return their number.

    Args:
        path: the file to be made.
        chunks: the events.
        channels: called after each chunk: the names of channels.
        cross_section: called after the last one: 1e-38 cm^2 per nucleon, or None.
    """
    import pyarrow
    import pyarrow.parquet as pq

    integer, real = pyarrow.int64(), pyarrow.float64()
    kinds = [*[real] * 4, *[integer] * 3, pyarrow.dictionary(pyarrow.int32(), pyarrow.string())]
    schema = pyarrow.schema(list(zip(COLUMNS, kinds, strict=True)))
    written, weights = 0, 0.0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for chunk in chunks:
            numbers = (
                chunk.energy,
                chunk.lepton_energy,
                chunk.cos_theta,
                chunk.weight,
                chunk.pdg_nu,
                chunk.pdg_l,
                chunk.target,
            )
            codes = pyarrow.array(chunk.channel.astype(np.int32), mask=chunk.channel < 0)
            names = pyarrow.array(list(channels()), pyarrow.string())
            column = pyarrow.DictionaryArray.from_arrays(codes, names)
            arrays = [pyarrow.array(np.ascontiguousarray(values)) for values in numbers]
            writer.write_batch(pyarrow.record_batch([*arrays, column], schema=schema))
            written += len(chunk.energy)
            weights += float(chunk.weight.sum())
        meta = {PER_NUCLEON: cross_section(), WEIGHTS: weights}
        writer.add_key_value_metadata({META: json.dumps(meta)})
    return written
