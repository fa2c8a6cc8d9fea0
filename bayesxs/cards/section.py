"""What the sections of the analysis card have in common.

A section is a frozen, strictly typed model. The string under a field is its description, with the
unit in brackets: the reference of cards is made of them.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

Count = Annotated[int, Field(ge=1, le=10_000_000)]


Positive = Annotated[float, Field(gt=0)]


Sin2 = Annotated[float, Field(ge=0, le=1)]


def conflict(key: str, value: object, allowed: str) -> PydanticCustomError:
    """Return the error of a key whose value contradicts others."""
    context = {"key": key, "value": value, "allowed": allowed}
    return PydanticCustomError("conflict", "{key} = {value}: {allowed}", context)


class Section(BaseModel):
    """What all sections have in common: nothing can be changed, added or converted."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )
