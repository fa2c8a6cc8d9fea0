"""The provenance of a run, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bayesxs.report.numbers import MISSING, Row, number
from bayesxs.types import Json

_STAGES: Final = (
    "operator",
    "train",
    "simulate",
    "bootstrap",
    "sample",
    "density",
    "posterior",
    "report",
)


def provenance(manifest: Json) -> list[Row]:
    """Return the head of a manifest: all of it but the stages, mappings on one line."""
    skip = {"stages", "format"}
    words = {"package": "bayesxs", "schema": "layout of the run folder"}
    return [
        Row(words.get(key, key.replace("_", " ")), (_flat(value),))
        for key, value in manifest.items()
        if key not in skip
    ]


def stages(summary: Json, manifest: Json) -> list[Row]:
    """Return seconds, content key and time of finish of each stage."""
    seconds = dict(summary.get("seconds") or {})
    records = dict(manifest.get("stages") or {})
    present = [*seconds, *records]
    others = [n for n in dict.fromkeys(present) if n not in _STAGES and n != "total"]
    rows = []
    for name in [*(n for n in _STAGES if n in present), *others, "total"]:
        if name not in present:
            continue
        record = records.get(name, {})
        spent = seconds.get(name, record.get("seconds"))
        cells = (
            number(spent, "{:.1f}"),
            str(record.get("key", MISSING)),
            str(record.get("finished", MISSING)),
        )
        rows.append(Row(name, cells))
    return rows


def _flat(value: object) -> str:
    """Value on one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_flat(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_flat(v) for v in value)
    return str(value)
