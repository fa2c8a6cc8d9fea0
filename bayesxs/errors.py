"""The one exception that means: the user's input is at fault, and this line says how to mend it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, Self

LINE: Final = 300  # characters of a message
VALUE: Final = 80  # characters of a value within one
_KEY: Final = 60
_ELLIPSIS: Final = "..."


class InputError(ValueError):
    """Report bad input in one line: where, which key, which value, and what is allowed.

    The command line prints the message after ``error:`` and exits with code 2. Whatever an input
    file puts into it, a message is one line of at most 300 printable characters: see `shown`.

    Example:
        >>> bayesxs.nufit_6_0(ordering="both")
        Traceback (most recent call last):
            ...
        bayesxs.errors.InputError: nufit_6_0: ordering = both: one of normal, inverted
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(shown(message, LINE))

    @classmethod
    def at(cls, source: object, key: object, value: object, allowed: str) -> Self:
        """Build ``source: key = value: allowed``, cutting values that run long.

        Source, key and then what is allowed are cut only where the line would be too long.
        """
        parts = [shown(source, LINE), shown(key, LINE), shown(value), shown(allowed, LINE)]
        for i, limit in ((0, VALUE), (1, _KEY)):
            if len("{}: {} = {}: {}".format(*parts)) > LINE:
                parts[i] = shown(parts[i], limit)
        rest = LINE - len("{}: {} = {}: ".format(*parts[:3]))
        return cls("{}: {} = {}: {}".format(*parts[:3], shown(parts[3], rest)))


class InputNotice(UserWarning):
    """Tell in one line what was done with an input that the user may not expect."""

    @classmethod
    def at(cls, source: object, key: object, value: object, done: str) -> Self:
        """Build ``source: key = value: done`` as `InputError.at` does."""
        return cls(str(InputError.at(source, key, value, done)))


@dataclass(frozen=True)
class Words:
    """How messages name what their reader can change; by default, the arguments of a Python user.

    Attributes:
        preset: the choice of a preset.
        overrides: changes of single keys of a card.
        out: the choice of a folder.
        workers: the number of processes.
        again: the same call once more, which goes on where the last one stopped.
    """

    preset: str = "preset"
    overrides: str = "overrides"
    out: str = "out="
    workers: str = "workers"
    again: str = "running again"


_PYTHON: Final = Words()
_WORDS: ContextVar[Words] = ContextVar("words", default=_PYTHON)


def words() -> Words:
    """Return the words of the interface in use."""
    return _WORDS.get()


@contextmanager
def speaking(chosen: Words) -> Iterator[None]:
    """Let the messages within use the words of another interface, such as the command line."""
    before = _WORDS.set(chosen)
    try:
        yield
    finally:
        _WORDS.reset(before)


def shown(value: object, limit: int = VALUE) -> str:
    r"""Return a value as a message may show it: escaped, and cut in the middle to a length.

    What a terminal would obey or hide (control characters, line breaks, marks of direction) is
    written as Python writes it: ``\x1b``, ``\n``, ``\u202e``. The two ends of a long text stay: the
    last part of a path says most.
    """
    try:
        text = str(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, a deep nesting
        text = f"({type(value).__name__} too large to be shown)"
    if len(text) > 2 * limit:  # what is left out need not be escaped
        text = f"{text[:limit]}{_ELLIPSIS}{text[-limit:]}"
    pieces = [
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    ]
    if sum(map(len, pieces)) <= limit:
        return "".join(pieces)
    tail = _fitting(pieces[::-1], (limit - len(_ELLIPSIS)) // 2)
    head = _fitting(pieces, limit - len(_ELLIPSIS) - len("".join(tail)))
    return "".join([*head, _ELLIPSIS, *reversed(tail)])


def _fitting(pieces: list[str], limit: int) -> list[str]:
    """Return the first pieces that fit within a length; an escape is never cut."""
    length = 0
    for count, piece in enumerate(pieces):
        length += len(piece)
        if length > limit:
            return pieces[:count]
    return pieces
