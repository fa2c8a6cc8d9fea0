"""The reference pages say all that the package takes, and say it right."""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import pytest
import typer.main
from pydantic import BaseModel, TypeAdapter, ValidationError

import bayesxs
from bayesxs.cards.counted import CountedCard

ROOT = Path(__file__).parents[2]

# Last words of keys that have a unit, and the unit
UNITS = {
    "GeV": "GeV",
    "GeV2": "GeV²",
    "km": "km",
    "cm3": "g/cm³",
    "deg": "degrees",
    "kt": "kt",
    "MW": "MW",
}
KNOWN = {*UNITS.values(), "–", "GeV^½", "eV²", "kt MW yr", "1/(kt MW yr)", "unit of the parameter"}


def load() -> ModuleType:
    path = ROOT / "docs" / "_ext" / "reference.py"
    spec = importlib.util.spec_from_file_location("reference", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


REFERENCE = load()


def models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield a model and all that are below it."""
    yield model
    for field in model.model_fields.values():
        for below in REFERENCE.models_of(field.annotation):
            yield from models(below)


KEYS = sorted(
    {
        (model, key)
        for card in (bayesxs.Card, CountedCard)
        for model in models(card)
        for key in model.model_fields
    },
    key=lambda pair: (pair[0].__name__, pair[1]),
)


# Keys that stand in a table: those of the card itself that hold tables are sections
ROWS = [
    (model, key)
    for model, key in KEYS
    if model not in (bayesxs.Card, CountedCard)
    or not REFERENCE.models_of(model.model_fields[key].annotation)
]


def name(value: Any) -> str:
    return value if isinstance(value, str) else value.__name__


@pytest.fixture(scope="module")
def page() -> str:
    return REFERENCE.card() + REFERENCE.counted_card()


@pytest.mark.parametrize(("model", "key"), KEYS, ids=name)
def test_every_key_has_a_place_and_a_meaning(page: str, model: type[BaseModel], key: str) -> None:
    field = model.model_fields[key]
    assert field.description
    unit, meaning = REFERENCE.split_unit(field.description)
    assert len(meaning) >= 5 and meaning[-1] == "."
    assert unit in KNOWN
    if (last := key.rpartition("_")[2]) in UNITS:
        assert unit == UNITS[last]
    if key in ("type", "kind"):
        assert f'# `{key} = "{field.default}"`' in page
        return
    if (model, key) in ROWS:
        assert "| " + " | ".join(REFERENCE.row(model, key)) + " |" in page
    else:
        assert f"({'card' if model is bayesxs.Card else 'counted'}-{key})=" in page


def test_a_key_without_a_meaning_is_not_documented() -> None:
    class Silent(BaseModel):
        key: int = 1

    with pytest.raises(ValueError, match=r"Silent\.key"):
        REFERENCE.row(Silent, "key")


@pytest.mark.parametrize(("model", "key"), ROWS, ids=name)
def test_defaults_are_written_as_a_card_takes_them(model: type[BaseModel], key: str) -> None:
    field = model.model_fields[key]
    default = REFERENCE.row(model, key)[2]
    if default == "needed":
        assert field.is_required()
    elif default == "–":  # nothing, or a table that is not written
        inner = field.default
        assert inner is None or (isinstance(inner, BaseModel) and inner == type(inner)())
    elif not REFERENCE.models_of(field.annotation):
        written = tomllib.loads(f"v = {default.strip('`')}")["v"]
        assert (tuple(written) if isinstance(written, list) else written) == field.default


@pytest.mark.parametrize(("model", "key"), ROWS, ids=name)
def test_bounds_are_those_of_the_model(model: type[BaseModel], key: str) -> None:
    field = model.model_fields[key]
    kind = "whole" if "whole number" in (cell := REFERENCE.row(model, key)[1]) else "real"
    if cell.startswith("list") or " or " in cell:
        return
    taken = TypeAdapter(Annotated[field.annotation, "as in the card", *field.metadata])
    for sign, text in re.findall(r"([≥>≤<])\s([-+.e\d]+)", cell):
        bound = int(float(text)) if kind == "whole" else float(text)
        step = 1 if kind == "whole" else max(1e-9, abs(bound) * 1e-9)
        outside = bound - step if sign in "≥>" else bound + step
        if sign in "≥≤":
            taken.validate_python(bound)
        for refused in [outside, *([bound] if sign in "<>" else [])]:
            with pytest.raises(ValidationError):
                taken.validate_python(refused)


def test_presets_are_what_the_page_says() -> None:
    sections = re.split(r"^## `(\w+)`$", REFERENCE.presets(), flags=re.MULTILINE)[1:]
    tables = dict(zip(sections[::2], sections[1::2], strict=True))
    assert set(tables) == {"quick", "default", "paper"}
    for preset, table in tables.items():
        rows = re.findall(r"^\| `([\w.]+)` \| `.*` \| `(.*)` \|$", table, flags=re.MULTILINE)
        overrides = {key: json.loads(value) for key, value in rows}
        written = bayesxs.load_card(overrides=overrides).model_dump() | {"preset": preset}
        assert written == bayesxs.load_card(preset=preset).model_dump()
        assert bool(rows) == (preset != "default")


def commands() -> Any:
    (script,) = entry_points(group="console_scripts", name="bayesxs")
    module = importlib.import_module(script.module)
    return typer.main.get_command(module.app)


def leaves(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for word, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, f"{path} {word}")
        else:
            yield f"{path} {word}", command


def test_every_command_has_its_options() -> None:
    page = REFERENCE.commands()
    sections = re.split(r"^#+ `(bayesxs[\w ]*)`$", page, flags=re.MULTILINE)[1:]
    described = dict(zip(sections[::2], sections[1::2], strict=True))
    for path, command in leaves(commands(), "bayesxs"):
        assert command.help.splitlines()[0] in described[path]
        for parameter in command.params:
            assert parameter.help
            assert parameter.help in described[path]
            for option in parameter.opts:
                shown = option if option.startswith("-") else parameter.metavar or option.upper()
                assert shown in described[path]


def test_every_public_name_is_documented() -> None:
    page = (ROOT / "docs" / "reference" / "python.md").read_text()
    chosen = " ".join(
        re.findall(r"^```\{generated\} names (.*)$", page, flags=re.MULTILINE)
    ).split()
    assert sorted(chosen) == sorted(bayesxs.__all__)
    documented = REFERENCE.names(*chosen)
    for public in bayesxs.__all__:
        assert re.search(rf"^\.\. auto\w+:: bayesxs\.{public}$", documented, flags=re.MULTILINE)
        assert getattr(bayesxs, public).__doc__


def test_every_card_of_the_repository_is_shown() -> None:
    for path in (ROOT / "models").glob("*.toml"):
        assert path.read_text() in REFERENCE.cards()
