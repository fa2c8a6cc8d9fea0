"""Shared by tests of runs: files of somebody else."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest


def changed(content: Any, value: object = None) -> Iterator[tuple[str, Any]]:
    """Yield, for every key at any depth, its name and the content without it, or with a value."""

    def places(part: Any, way: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        for key in part if isinstance(part, dict) else range(len(part)):
            if isinstance(part, dict):
                yield (*way, key)
            if isinstance(part[key], dict | list):
                yield from places(part[key], (*way, key))

    for *way, last in places(content, ()):
        other = part = copy.deepcopy(content)
        for key in way:
            part = part[key]
        if value is None:
            del part[last]
        else:
            part[last] = value
        yield str(last), other


@pytest.fixture(name="changed")
def _changed() -> Callable[..., Iterator[tuple[str, Any]]]:
    return changed
