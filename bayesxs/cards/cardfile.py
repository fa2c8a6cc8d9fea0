"""Reading and merging TOML tables, and saying in one line what is wrong with them.

The models that give the tables their meaning live in `bayesxs.cards.card`.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from bayesxs.errors import InputError, shown
from bayesxs.storage.inner import InnerPath, open_plain

Table = dict[str, Any]

_MAX_BYTES: Final = 1_000_000
_MAX_OVERRIDE: Final = 10_000
_MAX_DEPTH: Final = 16
_PART: Final = r"""(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+"""
_DEEP_KEY: Final = re.compile(rf"(?<![A-Za-z0-9_-])(?:{_PART}\.[ \t]*+){{{_MAX_DEPTH}}}")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_KINDS: Final = {int: "a whole number", float: "a number", str: "a string", bool: "true or false"}
_BOUNDS: Final = (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))


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
        return _parse(text, str(path))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: {_toml_fault(str(error), text)}") from None
    except InputError:
        raise
    except ValueError as error:
        # an integer with thousands of digits, or a date that does not exist
        raise InputError(f"{path}: {_flat(str(error))}") from None


def _opened(path: Path) -> BufferedReader:
    """Open a card; of that in a run folder no link is followed."""
    return os.fdopen(open_plain(path), "rb") if isinstance(path, InnerPath) else path.open("rb")


def _parse(text: str, source: str) -> Table:
    """Parse TOML that may be anybody's; refuse what no card needs and what would cost minutes.

    Raises:
        InputError: keys, tables or lists nested too deep, or an integer of more than 64 bits.
        ValueError: not TOML (`tomllib.TOMLDecodeError`), or an integer of thousands of digits.
    """
    # The parser takes a time that grows with the square of the depth of a dotted key
    deep = _DEEP_KEY.search(text)
    if deep:
        allowed = f"at most {_MAX_DEPTH} parts of a key"
        raise InputError.at(source, "key", deep[0] + "...", allowed)
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise InputError(f"{source}: lists or tables nested too deep for a card") from None
    _check_values(table, source)
    return table


def _check_values(table: Table, source: str) -> None:
    stack: list[tuple[str, object, int]] = [("", table, 0)]
    while stack:
        key, value, depth = stack.pop()
        if depth > _MAX_DEPTH:
            raise InputError.at(source, key, "...", "lists or tables nested too deep for a card")
        if isinstance(value, dict):
            start = f"{key}." if key else ""
            stack += [(f"{start}{name}", below, depth + 1) for name, below in value.items()]
        elif isinstance(value, list):
            stack += [(f"{key}[{i}]", below, depth + 1) for i, below in enumerate(value)]
        elif isinstance(value, int) and abs(value) >= 2**63:
            raise InputError.at(source, key, value, "a whole number of at most 64 bits")


def parse_overrides(overrides: Iterable[str]) -> Table:
    """Return the nested table that ``section.key=value`` strings spell; bare words are strings.

    Raises:
        InputError: no ``=``, an unreadable key or value, or one override inside another.
    """
    table: Table = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        key = key.strip()
        if len(override) > _MAX_OVERRIDE or key.count(".") >= _MAX_DEPTH:
            allowed = f"at most {_MAX_DEPTH} parts of a key, {_MAX_OVERRIDE} characters in all"
            raise InputError(f"--set: {_clip(override)}: {allowed}")
        if not equals or not _BARE_KEY.fullmatch(key):
            usage = "write section.key=value, such as far.events=1000"
            raise InputError(f"--set: {_clip(override)}: {usage}")
        *parents, last = key.split(".")
        section = table
        for parent in parents:
            section = section.setdefault(parent, {})
            if not isinstance(section, dict):
                raise InputError.at("--set", key, text, f"{parent} is already set to a value")
        section[last] = _override_value(key, text.strip())
    return table


def _override_value(key: str, text: str) -> Any:
    try:
        parsed = _parse(f"value = {text}", f"--set: {key}")
    except InputError:
        raise
    except ValueError as error:
        if text.startswith(('"', "'", "[", "{")):
            reason = re.sub(r" \(at .*\)$", "", str(error))
            raise InputError.at("--set", key, text, f"not a TOML value: {_flat(reason)}") from None
        return text
    return parsed["value"] if set(parsed) == {"value"} else text


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> Table:
    """Return `above` laid over `below`, table by table.

    A table that names its ``type`` (or ``kind``) replaces the one below whole: its keys belong to
    that type.
    """
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        if isinstance(value, dict) and isinstance(under, dict) and not _tag_key(value):
            merged[key] = merge(under, value)
        else:
            merged[key] = value
    return merged


def show(value: object) -> str:
    """Return a value as TOML would write it, near enough to be found again in the file."""
    if isinstance(value, str):  # shortened first: it may be as long as a card
        return _clip(json.dumps(value[:1000], ensure_ascii=False))
    if isinstance(value, bool | dict | list):
        return _clip(json.dumps(value, ensure_ascii=False, default=str))
    return _clip(str(value))


def nearest(word: object, known: Iterable[str]) -> str:
    """Return ``; did you mean "..."?`` for the closest known words, or nothing."""
    close = difflib.get_close_matches(str(word), list(known), n=2)
    return "; did you mean " + " or ".join(f'"{name}"' for name in close) + "?" if close else ""


def one_line(
    error: ValidationError, root: type[BaseModel], data: Table, overrides: Table, source: str
) -> InputError:
    """Return the first fault of a validation as one line: file, key, value, what is allowed."""
    faults = error.errors(include_url=False)
    # A misspelt key also leaves the right one missing: name the misspelling.
    first = min(faults, key=lambda fault: fault["type"] != "extra_forbidden")
    loc = _without_tags(first["loc"], data)
    value = show(first["input"])
    model = _model_at(root, first["loc"])
    if first["type"] == "conflict":
        context = first["ctx"]
        loc = (*loc, *filter(None, context["key"].split(".")))
        value, allowed = str(context["value"]), context["allowed"]
    elif first["type"] == "extra_forbidden":
        known = list(model.model_fields) if model else []
        hint = nearest(loc[-1], known)
        allowed = "unknown key" + (hint or f"; allowed: {', '.join(known) or 'none'}")
    else:
        if first["type"].startswith("union_tag"):
            tag = first["ctx"]["discriminator"].strip("'")
            loc, value = (
                (*loc, tag),
                show(first["ctx"]["tag"]) if "tag" in first["ctx"] else "(missing)",
            )
        elif first["type"] == "missing":
            value = "(missing)"
        allowed = _allowed(first, model)
    where = "--set" if _inside(loc, overrides) else source
    rest = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return InputError.at(where, _dotted(loc), value, allowed + rest)


def _allowed(fault: ErrorDetails, model: type[BaseModel] | None) -> str:
    kind, context = fault["type"], fault.get("ctx", {})
    if kind.startswith("union_tag"):
        tags = str(context.get("expected_tags", ""))
        tags = tags or ", ".join(_tags(model, str(fault["loc"][-1])))
        return "allowed: " + tags.replace("'", '"')
    if kind == "literal_error":
        return "allowed: " + str(context["expected"]).replace("'", '"')
    field = model.model_fields.get(str(fault["loc"][-1])) if model else None
    described = _describe(field) if field else ""
    if described and kind != "missing":
        return f"must be {described}"
    return f"needed, {described}" if described else _flat(fault["msg"])


def _describe(field: FieldInfo) -> str:
    """Say which values a plain field takes: its type and its bounds."""
    parts = list(_parts(field.annotation))
    choices = [choice for part in parts if get_origin(part) is Literal for choice in get_args(part)]
    if choices:
        return "one of " + ", ".join(show(choice) for choice in choices)
    kind = next((_KINDS[part] for part in parts if part in _KINDS), "")
    if not kind:
        table = "a table" if any(_is_model(part) for part in parts) else ""
        return "a list of one or more tables" if get_origin(field.annotation) is tuple else table
    limits = [*field.metadata, *(part for part in parts if not isinstance(part, type))]
    bounds = [
        f"{sign} {getattr(limit, name)}"
        for name, sign in _BOUNDS
        for limit in limits
        if hasattr(limit, name)
    ]
    if kind == "a string" and any(hasattr(limit, "min_length") for limit in limits):
        kind = "a non-empty string"
    return " ".join([kind, " and ".join(bounds)]).strip()


def _parts(annotation: Any) -> Iterator[Any]:
    """Yield the pieces of an annotation: members of unions, items of tuples, constraints."""
    if get_origin(annotation) is Annotated:
        base, *limits = get_args(annotation)
        yield from _parts(base)
        for limit in limits:
            yield from getattr(limit, "metadata", [limit])
    elif get_origin(annotation) not in (None, Literal):
        for part in get_args(annotation):
            yield from _parts(part)
    elif annotation is not NoneType:
        yield annotation


def _is_model(part: Any) -> bool:
    return isinstance(part, type) and issubclass(part, BaseModel)


def _model_at(root: type[BaseModel], loc: Sequence[int | str]) -> type[BaseModel] | None:
    """Return the model that holds the last key of a location, following union tags."""
    models = [root]
    for step in loc[:-1]:
        if isinstance(step, int):
            continue
        tagged = [model for model in models if step in _tags(model)]
        fields = [model.model_fields[step] for model in models if step in model.model_fields]
        below = [part for field in fields for part in _parts(field.annotation)]
        models = tagged or [part for part in below if _is_model(part)]
    return models[0] if models else None


def _tags(model: type[BaseModel] | None, key: str | None = None) -> list[str]:
    """Return the tag of a model, or the tags that one of its fields takes."""
    if model is None:
        return []
    if key is not None:
        field = model.model_fields.get(key)
        parts = _parts(field.annotation) if field else iter(())
        return [f'"{tag}"' for part in parts if _is_model(part) for tag in _tags(part)]
    name = _tag_key(model.model_fields)
    return [str(model.model_fields[name].default)] if name else []


def _tag_key(table: Mapping[str, Any]) -> str:
    """Return the key that says which of several tables this is, empty where there is none."""
    return next((key for key in ("type", "kind") if key in table), "")


def _without_tags(loc: Sequence[int | str], data: Any) -> tuple[int | str, ...]:
    """Drop the union tags that a location carries between the keys of the file."""
    steps: list[int | str] = []
    for step in loc:
        is_table = isinstance(data, dict)
        if is_table and step not in data and data.get(_tag_key(data)) == step:
            continue
        steps.append(step)
        is_item = isinstance(data, list | tuple) and isinstance(step, int) and step < len(data)
        data = data.get(step) if is_table else data[step] if is_item else None
    return tuple(steps)


def _inside(loc: Sequence[int | str], table: Any) -> bool:
    """Tell whether a location, or the table above it, was written in `table`."""
    for step in loc:
        if not isinstance(table, dict):
            return True
        if step not in table:
            return False
        table = table[step]
    return True


def _dotted(loc: Sequence[int | str]) -> str:
    text = ""
    for step in loc:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return _clip(text)


def _toml_fault(message: str, text: str) -> str:
    position = r" \(at (?:line (\d+), column \d+|end of document)\)"
    found = re.fullmatch(r"(.*)" + position, message, re.DOTALL)
    lines = text.splitlines()
    reason = found[1] if found else message
    number = int(found[2]) if found and found[2] else len(lines)
    line = _clip(lines[number - 1].strip()) if 0 < number <= len(lines) else ""
    return _flat(f"line {number}: {line + ': ' if line else ''}{reason}")


def _flat(text: str) -> str:
    return " ".join(text.split())


def _clip(text: str) -> str:
    return shown(_flat(text))
