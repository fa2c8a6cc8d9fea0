"""Changes laid over a card: values under dotted keys, from Python or spelled in a shell."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Final

from pydantic import BaseModel

from bayesxs.cards.cardfile import MAX_DEPTH, Table, check_values, parse_toml
from bayesxs.cards.wording import clip, flat, show
from bayesxs.errors import InputError, words

_MAX_TEXT: Final = 10_000
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


def parse_overrides(texts: Iterable[str]) -> Table:
    """Return the values that ``section.key=value`` strings spell, under their dotted keys.

    A value is TOML; a bare word is a string.

    Raises:
        InputError: no ``=``, or an unreadable key or value.
    """
    values: Table = {}
    for text in texts:
        key, equals, value = text.partition("=")
        key = key.strip()
        where = words().overrides
        if len(text) > _MAX_TEXT or key.count(".") >= MAX_DEPTH:
            allowed = f"at most {MAX_DEPTH} parts of a key, {_MAX_TEXT} characters in all"
            raise InputError(f"{where}: {clip(text)}: {allowed}")
        if not equals or not _BARE_KEY.fullmatch(key):
            usage = "write section.key=value, such as far.events=1000"
            raise InputError(f"{where}: {clip(text)}: {usage}")
        values.pop(key, None)  # the last one counts, in its place
        values[key] = _parsed(key, value.strip())
    return values


def _parsed(key: str, text: str) -> object:
    where = words().overrides
    try:
        parsed = parse_toml(f"value = {text}", f"{where}: {key}")
    except InputError:
        raise
    except ValueError as error:
        if text.startswith(('"', "'", "[", "{")):
            reason = re.sub(r" \(at .*\)$", "", str(error))
            raise InputError.at(where, key, text, f"not a TOML value: {flat(reason)}") from None
        return text
    return parsed["value"] if set(parsed) == {"value"} else text


def nested(overrides: object) -> Table:
    """Return the table that values under dotted keys make.

    Raises:
        InputError: no mapping, a key that is no text, one key inside the value of another, or a
            value nested too deep.
    """
    where = words().overrides
    if not isinstance(overrides, Mapping):
        allowed = 'must be a mapping, such as {"far.events": 1000}'
        raise InputError(f"{where}: {show(overrides)}: {allowed}")
    table: Table = {}
    for key, value in overrides.items():
        if not isinstance(key, str) or not _BARE_KEY.fullmatch(key):
            raise InputError.at(where, key, show(value), "a key is text, such as far.events")
        if key.count(".") >= MAX_DEPTH:
            raise InputError.at(where, key, show(value), f"at most {MAX_DEPTH} parts of a key")
        *parents, last = key.split(".")
        section = table
        for parent in parents:
            below = section.setdefault(parent, {})
            if not isinstance(below, dict):
                allowed = f"{parent} is already set to a value"
                raise InputError.at(where, key, show(value), allowed)
            section = below
        section[last] = plain_value(value, f"{where}: {key}")
    check_values(table, where)
    return table


def plain_table(table: Mapping[str, object], source: str) -> Table:
    """Return a card that Python wrote as a mapping as the table that a file would hold.

    Raises:
        InputError: a value nested too deep, or an integer of more than 64 bits.
    """
    plain = {key: plain_value(value, source) for key, value in table.items()}
    check_values(plain, source)
    return plain


def plain_value(value: object, source: str, depth: int = 0) -> object:
    """Return a Python value as TOML holds it; what TOML does not know stays for validation.

    Sections become tables, paths text, tuples lists, and NumPy's numbers and arrays Python's.

    Raises:
        InputError: nested too deep.
    """
    if depth > MAX_DEPTH:
        raise InputError(f"{source}: lists or tables nested too deep for a card")
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_none=True)
    if isinstance(value, Mapping):
        return {key: plain_value(below, source, depth + 1) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(below, source, depth + 1) for below in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if not isinstance(value, str | int | float) and hasattr(value, "tolist"):
        return value.tolist()
    # A NumPy float is a Python float by inheritance, but prints as one of NumPy's
    return float(value) if isinstance(value, float) else value
