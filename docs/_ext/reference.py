"""Markdown made of the package itself: every key of a card, presets, commands, public names.

The Sphinx directive ``{generated}`` puts what one of `GENERATORS` returns into a page.
"""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import bayesxs
from bayesxs.cards.counted import CountedCard

type Model = type[BaseModel]

MODELS: Final = Path(__file__).parents[2] / "models"

NONE: Final = "–"
_KINDS: Final = {int: "whole number", float: "number", str: "text", bool: "`true` or `false`"}
_BOUNDS: Final = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
# In brackets, but not in code
_UNIT: Final = re.compile(r"\s*(?<!`)\[([^\]]+)\](?!`)")


# Keys of a card


def card() -> str:
    """Describe every key of a card, a section for each table of it."""
    return _card(bayesxs.Card, "card")


def counted_card() -> str:
    """Describe every key of a card of samples."""
    return _card(CountedCard, "counted")


def _card(card: Model, mark: str) -> str:
    tables: dict[str, list[Model]] = {
        name: models_of(field.annotation) for name, field in card.model_fields.items()
    }
    plain = [name for name, models in tables.items() if not models]
    parts = ["## At the top", _table(card, plain)]
    described: dict[tuple[Model, ...], str] = {}
    for name, models in tables.items():
        if not models:
            continue
        field = card.model_fields[name]
        head = f"[[{name}]]" if get_origin(field.annotation) is tuple else f"[{name}]"
        parts += [f"({mark}-{name})=", f"## `{head}`", _sentence(field.description)]
        if len(models) > 1 and not field.is_required() and field.default is not None:
            parts.append(f"Default: `{_shown(field.default)}`.")
        if twin := described.get(tuple(models)):
            parts.append(f"Its keys are those of [`[{twin}]`](#{mark}-{twin}).")
            continue
        described[tuple(models)] = name
        parts += _variants("###", models) if len(models) > 1 else [_table(models[0])]
        parts += _inner(name, models)
    return "\n\n".join(parts)


def _inner(name: str, outer: list[Model]) -> Iterator[str]:
    """Describe the keys of the tables in a table, which may have several types."""
    inner: dict[tuple[Model, ...], list[str]] = {}
    for key, field in {k: f for model in outer for k, f in model.model_fields.items()}.items():
        if found := models_of(field.annotation):
            inner.setdefault(tuple(found), []).append(key)
    for models, keys in inner.items():
        yield f"### `{name}.{keys[0]}`" if len(keys) == 1 else f"### Each of `[{name}]`"
        if len(models) > 1 or tag_of(models[0]):
            yield from _variants("####", models)
        else:
            yield _sentence(inspect.getdoc(models[0]))
            yield _table(models[0])


def _variants(depth: str, models: Any) -> Iterator[str]:
    """Describe the types that a table may have, told apart by the key `type` or `kind`."""
    for model in models:
        tag = tag_of(model)
        value = model.model_fields[tag].default
        yield f"{depth} `{tag} = {json.dumps(value)}`"
        yield _sentence(inspect.getdoc(model))
        rest = [key for key in model.model_fields if key != tag]
        if rest:
            yield _table(model, rest)


def _table(model: Model, keys: list[str] | None = None) -> str:
    """Lay keys out as a table."""
    lines = ["| key | values | default | unit | meaning |", "|---|---|---|---|---|"]
    for key in model.model_fields if keys is None else keys:
        lines.append("| " + " | ".join(row(model, key)) + " |")
    return "\n".join(lines)


def row(model: Model, key: str) -> tuple[str, str, str, str, str]:
    """Return key, values, default, unit and meaning of a field, as cells of a Markdown table.

    Raises:
        ValueError: the field has no description.
    """
    field = model.model_fields[key]
    if not field.description:
        raise ValueError(f"{model.__name__}.{key} has no description under it")
    unit, meaning = split_unit(field.description)
    default = "needed" if field.is_required() else _shown(field.default)
    if default not in ("needed", NONE):
        default = f"`{default}`"
    return f"`{key}`", values_of(field), default, unit, meaning


def split_unit(description: str) -> tuple[str, str]:
    """Split a description into its unit, written in brackets, and its meaning."""
    words = " ".join(description.split())
    found = _UNIT.search(words)
    return (found[1], _UNIT.sub("", words, count=1)) if found else (NONE, words)


def values_of(field: FieldInfo) -> str:
    """Say which values a field takes: kind and bounds, choices, or a table."""
    words = _values(field.annotation, field.metadata)
    return words if words else "table"


def _values(annotation: Any, limits: Any = ()) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        own = [one for part in parts[1:] for one in getattr(part, "metadata", [part])]
        return _values(parts[0], [*limits, *own])
    if origin is Literal:
        return ", ".join(f"`{json.dumps(choice)}`" for choice in parts)
    if origin in (Union, UnionType):
        return " or ".join(filter(None, (_values(p, limits) for p in parts if p is not NoneType)))
    if origin is tuple:
        return f"list of {_count(limits)}{_values(parts[0])}"
    if annotation not in _KINDS:
        return ""
    bounds = [
        f"{sign}\N{NO-BREAK SPACE}{_number(getattr(one, name))}"
        for name, sign in _BOUNDS.items()
        for one in limits
        if hasattr(one, name)
    ]
    return ", ".join([_KINDS[annotation], *bounds])


def _count(limits: Any) -> str:
    """Say how many items a list may have."""
    least = next((one.min_length for one in limits if hasattr(one, "min_length")), 0)
    most = next((one.max_length for one in limits if hasattr(one, "max_length")), None)
    if most is None:
        return ""
    return f"{most}: " if least == most else f"{least} to {most}: "


def _number(value: float) -> str:
    if isinstance(value, int) and value >= 100_000:
        exponent = len(str(value)) - 1
        if value == 10**exponent:
            return f"1e{exponent}"
    return f"{value}"


def models_of(annotation: Any) -> list[Model]:
    """List the models that an annotation holds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return list(dict.fromkeys(m for part in get_args(annotation) for m in models_of(part)))


def tag_of(model: Model) -> str:
    """Return the key that tells the types of a table apart; empty where there is one type."""
    return next((key for key in ("type", "kind") if key in model.model_fields), "")


def _shown(value: Any) -> str:
    """Return a value as a card writes it, none as a dash."""
    if value is None or value is PydanticUndefined:
        return NONE
    if isinstance(value, BaseModel):
        tag = tag_of(type(value))
        return f'{tag} = "{getattr(value, tag)}"' if tag else NONE
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_shown, value))}]"
    return json.dumps(value)


def _sentence(text: str | None) -> str:
    return split_unit(text or "")[1].replace("``", "`")


# Presets, bundled cards, commands, names


def presets() -> str:
    """Tabulate the keys that each preset changes, beside their defaults."""
    default = bayesxs.load_card().model_dump()
    parts = []
    for name in get_args(bayesxs.Card.model_fields["preset"].annotation):
        changed = _differences(default, bayesxs.load_card(preset=name).model_dump())
        changed.pop("preset", None)
        parts.append(f"## `{name}`")
        if not changed:
            parts.append("Every key has the default that [the reference](card.md) gives.")
            continue
        lines = ["| key | default | here |", "|---|---|---|"]
        for key, (before, here) in changed.items():
            lines.append(f"| `{key}` | `{json.dumps(before)}` | `{json.dumps(here)}` |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _differences(
    one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = ""
) -> dict[str, tuple[Any, Any]]:
    found: dict[str, tuple[Any, Any]] = {}
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(one[key], dict):
            found |= _differences(one[key], value, f"{prefix}{key}.")
        elif value != one[key]:
            found[f"{prefix}{key}"] = (one[key], value)
    return found


def commands() -> str:
    """Describe every command with its arguments and options, by typer's own utility."""
    (script,) = entry_points(group="console_scripts", name="bayesxs")
    command = [sys.executable, "-m", "typer", script.module, "utils", "docs", "--name", "bayesxs"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    # The title is the page's own; lists of commands repeat, cut short, the sections that follow
    text = text.partition("\n")[2]
    text = re.sub(r"\*\*Commands\*\*:\n\n(\* .*\n)+", "", text)
    return text.replace("```console\n", "```text\n")


def cards() -> str:
    """Show the cards in the folder models/."""
    paths = sorted(MODELS.glob("*.toml"))
    return "\n\n".join(f"## `{p.name}`\n\n```toml\n{p.read_text()}```" for p in paths)


def names(*chosen: str) -> str:
    """Document public names, all of them if none is chosen."""
    parts = []
    for name in chosen or bayesxs.__all__:
        thing = getattr(bayesxs, name)
        kind = "autofunction" if callable(thing) else "autodata"
        options = [] if callable(thing) else ["   :no-value:"]
        if inspect.isclass(thing):
            kind = "autoexception" if issubclass(thing, Exception) else "autoclass"
            if not issubclass(thing, BaseModel | Exception | tuple):
                options = ["   :members:", "   :inherited-members:"]
        lines = [f".. {kind}:: bayesxs.{name}", *options]
        parts.append("```{eval-rst}\n" + "\n".join(lines) + "\n```")
    return "\n\n".join(parts)


GENERATORS: Final[dict[str, Callable[..., str]]] = {
    "card": card,
    "counted_card": counted_card,
    "presets": presets,
    "cards": cards,
    "commands": commands,
    "names": names,
}


def _without_signature(app: Any, what: str, name: str, thing: Any, *_: Any) -> Any:
    """Hide the signature of a card: its keys are the reference of cards."""
    return ("", None) if inspect.isclass(thing) and issubclass(thing, BaseModel) else None


def _public_name(app: Any, env: Any, node: Any, content: Any) -> Any:
    """Lead a reference to a public name there; one that exists and is not public stays text."""
    module, _, name = str(node.get("reftarget", "")).rpartition(".")
    if node.get("refdomain") != "py":
        return None
    if name not in bayesxs.__all__:
        return content if _exists(module, name) else None
    return env.get_domain("py").resolve_xref(
        env, node["refdoc"], app.builder, "obj", f"bayesxs.{name}", node, content
    )


def _exists(module: str, name: str) -> bool:
    try:
        return module.startswith("bayesxs.") and hasattr(import_module(module), name)
    except ImportError:
        return False


def setup(app: Any) -> dict[str, Any]:
    """Register the directive with Sphinx, and what makes public names findable."""
    from sphinx.util.docutils import SphinxDirective

    class Generated(SphinxDirective):
        """Parse what a generator returns as a part of the page."""

        required_arguments = 1
        optional_arguments = 99

        def run(self) -> Any:
            text = GENERATORS[self.arguments[0]](*self.arguments[1:])
            self.env.note_reread()
            return self.parse_text_to_nodes(text, allow_section_headings=True)

    app.add_directive("generated", Generated)
    app.connect("autodoc-process-signature", _without_signature)
    app.connect("missing-reference", _public_name)
    return {"parallel_read_safe": True}
