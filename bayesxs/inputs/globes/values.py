"""Values of GLoBES's experiment files: numbers, lists and names, out of tokens."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from bayesxs.errors import InputError
from bayesxs.types import Floats as Float

MAX_LISTS: Final = 20  # that name one another
MAX_EXPRESSION: Final = 200  # tokens of an expression

_NUMBER: Final = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


class Token(NamedTuple):
    """A piece of text and where it stands."""

    text: str
    path: Path
    line: int

    @property
    def place(self) -> str:
        """File and line, as messages name them."""
        return f"{self.path}: line {self.line}"


@dataclass(frozen=True)
class Value:
    """The tokens on the right of an equals sign, and what names in them stand for."""

    key: Token
    tokens: Sequence[Token]
    definitions: dict[str, float]
    lists: dict[str, Value]

    def refuse(self, allowed: str, token: Token | None = None) -> InputError:
        """Return the message that this is not what was expected."""
        shown = token.text if token else " ".join(t.text for t in self.tokens[:20])
        return InputError.at((token or self.key).place, self.key.text, shown or "(none)", allowed)

    def parts(self, separator: str = ":") -> list[Value]:
        """Return the values between separators that are in no brackets."""
        parts: list[list[Token]] = [[]]
        depth = 0
        for token in self.tokens:
            depth += (token.text in "({") - (token.text in ")}")
            if token.text == separator and depth == 0:
                parts.append([])
            else:
                parts[-1].append(token)
        return [self._of(part) for part in parts]

    def number(self) -> float:
        """Return the value of an expression.

        Raises:
            InputError: it is none, is not finite, or names something that was not defined before.
        """
        tokens = self.tokens
        if len(tokens) == 1 and tokens[0].text.startswith("{"):  # {2848} is a list of one
            values = self.numbers()
            if len(values) == 1:
                return float(values[0])
        if not 1 <= len(tokens) <= MAX_EXPRESSION:
            raise self.refuse(f"a number, in 1 to {MAX_EXPRESSION} words")
        try:
            value, rest = _sum(self, 0)
        except InputError:
            raise
        except (OverflowError, ZeroDivisionError, ValueError):
            raise self.refuse("a finite number") from None
        if rest < len(tokens):
            raise self.refuse("a number", tokens[rest])
        if not math.isfinite(value):
            raise self.refuse("a finite number")
        return value

    def numbers(self, depth: int = 0) -> Float:
        """Return a list of numbers: {1, 2}, or copy(%list), or %list.

        Args:
            depth: number of lists that led here.

        Raises:
            InputError: it is none, or names a list that is not defined.
        """
        texts = [token.text for token in self.tokens]
        if len(texts) == 4 and texts[:2] == ["copy", "("] and texts[3] == ")":
            return self._of(self.tokens[2:3]).numbers(depth)
        if len(texts) == 1 and texts[0].startswith("%"):
            if texts[0] not in self.lists or depth > MAX_LISTS:
                raise self.refuse("a list that is defined", self.tokens[0])
            return self.lists[texts[0]].numbers(depth + 1)
        if len(texts) == 1 and texts[0].startswith("{"):
            cells = texts[0][1:-1].split(",")
            cells = cells[:-1] if len(cells) > 1 and not cells[-1].strip() else cells
            try:
                found = np.array([float(cell) for cell in cells])
            except ValueError:
                raise self.refuse("a list of numbers, {1, 2, 3}") from None
            if not np.all(np.isfinite(found)):
                raise self.refuse("a list of finite numbers")
            return found
        return np.array([value.number() for value in self.braced()])

    def braced(self) -> list[Value]:
        """Return the values of a list of anything, {#one, #two}."""
        if len(self.tokens) == 1 and not self.tokens[0].text.strip("{ \t\n}"):
            return []  # empty: the only list of names that is one token
        if len(self.tokens) < 2 or (self.tokens[0].text, self.tokens[-1].text) != ("{", "}"):
            raise self.refuse("a list, {1, 2, 3}")
        return [v for v in self._of(self.tokens[1:-1]).parts(",") if v.tokens]

    def text(self) -> str:
        """Return a text in quotes."""
        if len(self.tokens) != 1 or not self.tokens[0].text.startswith('"'):
            raise self.refuse('a text in quotes, "..."')
        return self.tokens[0].text[1:-1]

    def name(self) -> str:
        """Return a name, #name, without its mark."""
        if len(self.tokens) != 1 or not self.tokens[0].text.startswith("#"):
            raise self.refuse("a name, #name")
        return self.tokens[0].text[1:]

    def word(self) -> str:
        """Return one word or sign."""
        if len(self.tokens) != 1:
            raise self.refuse("one word")
        return self.tokens[0].text

    def _of(self, tokens: Sequence[Token]) -> Value:
        return Value(self.key, tokens, self.definitions, self.lists)


def _sum(value: Value, at: int) -> tuple[float, int]:
    total, at = _product(value, at)
    while at < len(value.tokens) and value.tokens[at].text in ("+", "-"):
        sign = 1.0 if value.tokens[at].text == "+" else -1.0
        term, at = _product(value, at + 1)
        total += sign * term
    return total, at


def _product(value: Value, at: int) -> tuple[float, int]:
    total, at = _power(value, at)
    while at < len(value.tokens) and value.tokens[at].text in ("*", "/"):
        divide = value.tokens[at].text == "/"
        factor, at = _power(value, at + 1)
        total = total / factor if divide else total * factor
    return total, at


def _power(value: Value, at: int) -> tuple[float, int]:
    if at < len(value.tokens) and value.tokens[at].text in ("+", "-"):
        sign = 1.0 if value.tokens[at].text == "+" else -1.0
        total, at = _power(value, at + 1)
        return sign * total, at
    base, at = _atom(value, at)
    if at < len(value.tokens) and value.tokens[at].text == "^":
        exponent, at = _power(value, at + 1)
        if base < 0.0 and exponent != int(exponent):
            raise value.refuse("a real number")
        base = base**exponent
    return base, at


def _atom(value: Value, at: int) -> tuple[float, int]:
    if at >= len(value.tokens):
        raise value.refuse("a number")
    token = value.tokens[at]
    if token.text == "(":
        inner, at = _sum(value, at + 1)
        if at >= len(value.tokens) or value.tokens[at].text != ")":
            raise value.refuse("closed brackets")
        return inner, at + 1
    if _NUMBER.fullmatch(token.text):
        return float(token.text), at + 1
    if token.text in value.definitions:
        return value.definitions[token.text], at + 1
    allowed = "a number, or a name that was defined before"
    raise value.refuse(allowed, token)
