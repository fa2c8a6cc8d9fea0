"""One line for what pydantic finds wrong with a card: file, key, value, what is allowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from bayesxs.cards.section import MISSING
from bayesxs.cards.wording import clip, flat, show
from bayesxs.errors import InputError, words

# Where pydantic speaks of Python, not of TOML
_ALLOWED: Final = {
    "missing": "needed",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "tuple_type": "must be a list",
}


def one_line(
    error: ValidationError,
    data: Mapping[str, object],
    overrides: Mapping[str, object],
    source: str,
) -> InputError:
    """Return the first fault of a validation as one line.

    Args:
        error: the faults.
        data: what was validated.
        overrides: the part of the data that was laid over the card.
        source: name of the card.
    """
    faults = error.errors(include_url=False)
    first = faults[0]
    loc = _without_tags(first["loc"], data)
    value = MISSING if first["type"] == "missing" else show(first["input"])
    context = first.get("ctx", {})
    if first["type"] == "conflict":
        loc = (*loc, *filter(None, context["key"].split(".")))
        value, allowed = str(context["value"]), context["allowed"]
    elif first["type"] == "union_tag_invalid":
        loc = (*loc, context["discriminator"].strip("'"))
        value = MISSING if context["tag"] == MISSING else show(context["tag"])
        allowed = f"must be one of {_quoted(context['expected_tags'])}"
    else:
        allowed = _ALLOWED.get(first["type"]) or _must(first)
    where = words().overrides if _inside(loc, overrides) else source
    rest = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return InputError.at(where, dotted_key(loc), value, allowed + rest)


def _must(fault: ErrorDetails) -> str:
    """Return pydantic's own message as what a value must be."""
    message = flat(fault["msg"])
    if fault["type"] == "literal_error":
        message = _quoted(message)
    for start in ("Input should ", "String should ", "Tuple should "):
        if message.startswith(start):
            return "must " + message.removeprefix(start)
    return message


def _quoted(text: str) -> str:
    return text.replace("'", '"')


def _without_tags(loc: Sequence[int | str], data: object) -> tuple[int | str, ...]:
    """Drop the union tags that a location carries between the keys of the file."""
    steps: list[int | str] = []
    for step in loc:
        if isinstance(data, Mapping):
            if step not in data and step in (data.get("type"), data.get("kind")):
                continue
            data = data.get(step)
        elif isinstance(data, list | tuple) and isinstance(step, int) and step < len(data):
            data = data[step]
        else:
            data = None
        steps.append(step)
    return tuple(steps)


def _inside(loc: Sequence[int | str], table: object) -> bool:
    """Tell whether a location, or the table above it, was written in `table`."""
    for step in loc:
        if not isinstance(table, Mapping):
            return True
        if step not in table:
            return False
        table = table[step]
    return True


def dotted_key(loc: Sequence[int | str]) -> str:
    """Return a location as a card would write it, such as ``sample[0].flavor_in``."""
    text = ""
    for step in loc:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return clip(text)
