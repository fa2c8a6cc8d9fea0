"""The one exception that means: the user's input is at fault, and this line says how to mend it."""

from __future__ import annotations

from typing import Self


class InputError(ValueError):
    """Report bad input in one line: where, which key, which value, and what is allowed.

    The command line prints the message after ``error:`` and exits with code 2.
    """

    @classmethod
    def at(cls, source: object, key: object, value: object, allowed: str) -> Self:
        """Build ``source: key = value: allowed`` on one line, cutting values that run long."""
        shown = str(value).replace("\n", " ")
        if len(shown) > 80:
            shown = shown[:77] + "..."
        return cls(f"{source}: {key} = {shown}: {allowed}")
