"""The base of all sections of the analysis card.

A section is a frozen, strictly typed model. The string under a field is its description, with the
unit in brackets: the reference of cards is made of them.
"""

from __future__ import annotations

from typing import Annotated, Final

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
        return data
