"""The base of all sections of the analysis card.

A section is a frozen, strictly typed model. The string under a field is its description, with the
unit in brackets: the reference of cards is made of them.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAliasType, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from bayesxs.cards.wording import nearest, show

Count = Annotated[int, Field(ge=1, le=10_000_000)]
Positive = Annotated[float, Field(gt=0)]


def conflict(key: str, value: object, allowed: str) -> PydanticCustomError:
    """Return the error of a key whose value contradicts others."""
    context = {"key": key, "value": value, "allowed": allowed}
    return PydanticCustomError("conflict", "{key} = {value}: {allowed}", context)


MISSING: Final = "(missing)"


def _named(tag: str) -> BeforeValidator:
    """Let the message about a table without its tag list the tags that there are."""

    def fill(value: object) -> object:
        return {tag: MISSING, **value} if isinstance(value, dict) and tag not in value else value

    return BeforeValidator(fill)


# Beside the discriminator of a union of tables
TYPED: Final = _named("type")
KINDED: Final = _named("kind")


class Section(BaseModel):
    """The base of all sections: nothing can be changed, added or converted."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: object) -> object:
        # As `extra = "forbid"`, with what is meant
        if isinstance(data, dict):
            known = list(cls.model_fields)
            for key in data:
                if key not in known:
                    hint = nearest(key, known) or f"; allowed: {', '.join(known)}"
                    raise conflict(str(key), show(data[key]), "unknown key" + hint)
                if isinstance(data[key], dict):
                    _refuse_other_types(key, data[key], cls.model_fields[key].annotation)
        return data


def _refuse_other_types(name: str, table: dict[object, object], annotation: object) -> None:
    """Refuse a key that only tables of another type, or kind, have: it is not unknown."""
    members = _members(annotation)
    for tag in ("type", "kind"):
        fields = {
            str(value): member.model_fields
            for member in members
            if tag in member.model_fields
            for value in get_args(member.model_fields[tag].annotation)
        }
        own = fields.get(str(table.get(tag)))
        for key in table if own is not None else ():
            others = [f'"{value}"' for value, known in fields.items() if key in known]
            if key not in (own or ()) and others:
                allowed = f"only with {tag} = {' or '.join(others)}"
                raise conflict(f"{name}.{key}", show(table[key]), allowed)


def _members(annotation: object) -> list[type[Section]]:
    """Return the sections of which one stands in a field."""
    if isinstance(annotation, TypeAliasType):
        return _members(annotation.__value__)
    if isinstance(annotation, type):
        return [annotation] if issubclass(annotation, Section) else []
    return [member for part in get_args(annotation) for member in _members(part)]
