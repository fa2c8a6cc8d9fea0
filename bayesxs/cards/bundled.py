"""The cards that come with the package, by name: those in the folder models/ of the repository."""

from __future__ import annotations

import os
from itertools import groupby
from pathlib import Path

import bayesxs.data
from bayesxs.cards.wording import nearest
from bayesxs.errors import InputError


def folder() -> Path:
    """Return the folder of the bundled cards and weights.

    A wheel holds a copy of models/ beside the package's data; a checkout has models/ itself.
    """
    data = Path(bayesxs.data.__path__[0])
    copied = data / "models"
    return copied if copied.is_dir() else data.parents[1] / "models"


def names() -> list[str]:
    """Return the names of the bundled cards, in alphabetical order."""
    return sorted(path.stem for path in folder().glob("*.toml"))


def find_card(name: str | os.PathLike[str]) -> Path:
    """Return the path of a card: a file, or else the bundled card of that name.

    Raises:
        InputError: neither; the message lists the bundled cards.
    """
    path = Path(name)
    is_name = os.fspath(name) == path.stem
    if not is_name or path.is_file():
        return path
    known = names()
    if path.name in known:
        return folder() / f"{path.name}.toml"
    if path.exists():
        return path
    hint = nearest(name, known)
    if hint:
        raise InputError(f"{name}: no such file, and no bundled card{hint}")
    raise InputError(f"{name}: no such file; bundled cards: {_listed(known)}")


def _listed(known: list[str]) -> str:
    """Return sorted names as a shell takes them, families together: nucleus, scan-{far,near}."""
    return ", ".join(_families(known))


def _families(known: list[str]) -> list[str]:
    """Return sorted names, those that begin with the same word as one."""
    parts = []
    for family, members in groupby(known, lambda name: name.partition("-")[0]):
        own = list(members)
        if len(own) == 1 or family in own:
            parts += own
        else:
            rest = _families([name.partition("-")[2] for name in own])
            parts.append(f"{family}-{{{','.join(rest)}}}")
    return parts
