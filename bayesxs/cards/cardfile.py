"""Reading and merging TOML tables.

The models that give the tables their meaning live in `bayesxs.cards.card`.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from io import BufferedReader
from pathlib import Path
from typing import Final

from bayesxs.cards.wording import clip, flat
from bayesxs.errors import InputError
from bayesxs.storage.inner import InnerPath, open_plain

Table = dict[str, object]

_MAX_BYTES: Final = 1_000_000
MAX_DEPTH: Final = 16
_PART: Final = r"""(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+"""
_DEEP_KEY: Final = re.compile(rf"(?<![A-Za-z0-9_-])(?:{_PART}\.[ \t]*+){{{MAX_DEPTH}}}")


def read_toml(path: Path) -> Table:
    """Return the table in a TOML file.

    Raises:
        InputError: the file is missing, unreadable, no text, too large, or not TOML.
    """
    try:
        with _opened(path) as file:
            content = file.read(_MAX_BYTES + 1)
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder: a card is a TOML file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path}: cannot read the card: {reason}") from None
    if len(content) > _MAX_BYTES:
        raise InputError(f"{path}: larger than {_MAX_BYTES} bytes: a card is a small TOML file")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file: a card is TOML in UTF-8") from None
    try:
        return parse_toml(text, str(path))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: {_toml_fault(str(error), text)}") from None
    except InputError:
        raise
    except ValueError as error:
        # an integer with thousands of digits, or a date that does not exist
        raise InputError(f"{path}: {flat(str(error))}") from None


def _opened(path: Path) -> BufferedReader:
    """Open a card; of that in a run folder no link is followed."""
    return os.fdopen(open_plain(path), "rb") if isinstance(path, InnerPath) else path.open("rb")


def parse_toml(text: str, source: str) -> Table:
    """Parse TOML that may be anybody's; refuse what no card needs and what would cost minutes.

    Raises:
        InputError: keys, tables or lists nested too deep, or an integer of more than 64 bits.
        ValueError: not TOML (`tomllib.TOMLDecodeError`), or an integer of thousands of digits.
    """
    # The parser takes a time that grows with the square of the depth of a dotted key
    deep = _DEEP_KEY.search(text)
    if deep:
        allowed = f"at most {MAX_DEPTH} parts of a key"
        raise InputError.at(source, "key", deep[0] + "...", allowed)
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise InputError(f"{source}: lists or tables nested too deep for a card") from None
    check_values(table, source)
    return table


def check_values(table: Table, source: str) -> None:
    """Refuse values that no card needs.

    Raises:
        InputError: lists or tables nested too deep, or an integer of more than 64 bits.
    """
    stack: list[tuple[str, object, int]] = [("", table, 0)]
    while stack:
        key, value, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise InputError.at(source, key, "...", "lists or tables nested too deep for a card")
        if isinstance(value, dict):
            start = f"{key}." if key else ""
            stack += [(f"{start}{name}", below, depth + 1) for name, below in value.items()]
        elif isinstance(value, list):
            stack += [(f"{key}[{i}]", below, depth + 1) for i, below in enumerate(value)]
        elif isinstance(value, int) and abs(value) >= 2**63:
            raise InputError.at(source, key, value, "a whole number of at most 64 bits")


def merge(below: Mapping[str, object], above: Mapping[str, object]) -> Table:
    """Return `above` laid over `below`, table by table.

    A table that names another ``type`` (or ``kind``) than the one below replaces it whole: its keys
    belong to that type.
    """
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        if isinstance(value, dict) and isinstance(under, dict) and _same_type(value, under):
            merged[key] = merge(under, value)
        else:
            merged[key] = value
    return merged


def _same_type(above: Table, below: Table) -> bool:
    """Tell whether a table leaves open which of several it is, or is of the type of another."""
    return all(above[key] == below.get(key) for key in ("type", "kind") if key in above)


def _toml_fault(message: str, text: str) -> str:
    position = r" \(at (?:line (\d+), column \d+|end of document)\)"
    found = re.fullmatch(r"(.*)" + position, message, re.DOTALL)
    lines = text.splitlines()
    reason = found[1] if found else message
    number = int(found[2]) if found and found[2] else len(lines)
    line = clip(lines[number - 1].strip()) if 0 < number <= len(lines) else ""
    return flat(f"line {number}: {line + ': ' if line else ''}{reason}")
