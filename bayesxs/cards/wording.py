"""How messages about cards show values and guess words."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable

from bayesxs.errors import shown


def show(value: object) -> str:
    """Return a value as TOML would write it, near enough to be found again in the file."""
    if isinstance(value, str):  # shortened first: it may be as long as a card
        return clip(json.dumps(value[:1000], ensure_ascii=False))
    if isinstance(value, bool | dict | list):
        return clip(json.dumps(value, ensure_ascii=False, default=str, skipkeys=True))
    return clip(str(value))


def nearest(word: object, known: Iterable[str]) -> str:
    """Return ``; did you mean "..."?`` for the closest known words, or nothing."""
    close = difflib.get_close_matches(str(word), list(known), n=2)
    return "; did you mean " + " or ".join(f'"{name}"' for name in close) + "?" if close else ""


def flat(text: str) -> str:
    """Return a text in one line."""
    return " ".join(text.split())


def clip(text: str) -> str:
    """Return a text in one line, as a message may show it."""
    return shown(flat(text))
