"""Tables as HEPData takes them: an archive of submission.yaml and one data file for each table.

The format is that of hepdata-submission.readthedocs.io, schema 1.1.1: a YAML document with a
comment, then one for each table, which names its file of independent and dependent variables.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import yaml

from bayesxs.types import Floats

# Dates inside of an archive, so that its bytes depend on nothing but the tables
_NO_DATE: Final = (1980, 1, 1, 0, 0, 0)
_DIGITS: Final = 6


@dataclass(frozen=True)
class Column:
    """A variable of a table.

    Attributes:
        name: of the variable.
        values: numbers or words.
        units: empty where there are none.
        errors: standard errors of the values, by their label, where there are any.
    """

    name: str
    values: Sequence[float | str] | Floats
    units: str = ""
    errors: Floats | None = None


@dataclass(frozen=True)
class HepDataTable:
    """A table.

    Attributes:
        stem: of the name of its file.
        name: at most 64 characters.
        description: of its content.
        observables: names of what it is about.
        independent: variables that label a row.
        dependent: variables that were found.
        qualifiers: name, value and unit of what holds for the whole table.
    """

    stem: str
    name: str
    description: str
    observables: tuple[str, ...]
    independent: tuple[Column, ...]
    dependent: tuple[Column, ...]
    qualifiers: tuple[tuple[str, float | str, str], ...] = ()


def submission(tables: Sequence[HepDataTable], comment: str) -> bytes:
    """Return a zip archive that HEPData takes.

    Args:
        tables: in their order; stems and names differ.
        comment: on all of them.

    Raises:
        ValueError: two tables of one stem or name, a name that is too long, or variables of
            different lengths.
    """
    if any(len({getattr(t, key) for t in tables}) < len(tables) for key in ("stem", "name")):
        raise ValueError("tables need stems and names of their own")
    documents = [{"comment": comment}, *(_entry(table) for table in tables)]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:

        def put(name: str, text: str) -> None:
            archive.writestr(zipfile.ZipInfo(name, _NO_DATE), text, zipfile.ZIP_DEFLATED)

        put("submission.yaml", yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True))
        for table in tables:
            put(f"{table.stem}.yaml", yaml.safe_dump(_data(table), sort_keys=False))
    return stream.getvalue()


def _entry(table: HepDataTable) -> dict[str, object]:
    if len(table.name) > 64:
        raise ValueError(f"{table.name!r}: more than 64 characters")
    keywords = [
        {"name": "reactions", "values": ["NUMU --> NUE", "NUMU --> NUMU"]},
        {"name": "observables", "values": list(table.observables)},
        {"name": "phrases", "values": ["neutrino oscillation", "posterior"]},
    ]
    return {
        "name": table.name,
        "description": table.description,
        "keywords": keywords,
        "data_file": f"{table.stem}.yaml",
    }


def _data(table: HepDataTable) -> dict[str, object]:
    columns = (*table.independent, *table.dependent)
    if len({len(column.values) for column in columns}) > 1:
        raise ValueError(f"{table.name}: variables of different lengths")
    qualifiers = [
        {"name": name, "value": value, **({"units": units} if units else {})}
        for name, value, units in table.qualifiers
    ]
    return {
        "independent_variables": [_variable(column) for column in table.independent],
        "dependent_variables": [
            _variable(column) | {"qualifiers": qualifiers} for column in table.dependent
        ],
    }


def _variable(column: Column) -> dict[str, object]:
    header = {"name": column.name, **({"units": column.units} if column.units else {})}
    values: list[dict[str, object]] = [{"value": _plain(value)} for value in column.values]
    if column.errors is not None:
        for entry, error in zip(values, column.errors, strict=True):
            entry["errors"] = [{"symerror": _plain(error), "label": "Monte Carlo"}]
    return {"header": header, "values": values}


def _plain(value: float | str) -> float | str:
    """Return a number of six digits, or words as they are."""
    return value if isinstance(value, str) else float(np.format_float_scientific(value, _DIGITS))
