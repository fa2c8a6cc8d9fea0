"""A small PDF set with two subgrids, written in LHAPDF's format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest


class ToySet(NamedTuple):
    """A set on disk, and what was written: per subgrid (x, q2, values of shape (nx, nq, nf))."""

    folder: Path
    flavors: tuple[int, ...]
    subgrids: list[tuple[np.ndarray, np.ndarray, np.ndarray]]


X = np.array([1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.3, 0.5, 0.8, 1.0])
FLAVORS = (-1, 1, 2, 21)


def smooth(pid: int, x: np.ndarray, q: np.ndarray, jump: float) -> np.ndarray:
    """Give each flavor a shape of its own; flavor -1 changes sign and has tiny values."""
    log_q = np.log(q)[None, :] + jump
    x = x[:, None]
    return {
        -1: 0.1 * (0.2 - x) * (1 - x) ** 3 * log_q**2,
        1: x**0.5 * (1 - x) ** 3 * (1 + 0.3 * log_q),
        2: 2 * x**0.6 * (1 - x) ** 3 / (1 + 0.2 * log_q),
        21: 3 * x**-0.2 * (1 - x) ** 5 * (1 + log_q),
    }[pid]


def write_set(
    folder: Path, subgrids: list[tuple[np.ndarray, np.ndarray, np.ndarray]], extra: str = ""
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{folder.name}.info").write_text(
        'SetDesc: "a toy set: for tests"\nFormat: lhagrid1\nNumMembers: 1\n'
        f"Flavors: [{', '.join(map(str, FLAVORS))}]\nAlphaS_Qs: [1.0,\n  2.0]\n{extra}"
    )
    lines = ["PdfType: central", "Format: lhagrid1", "---"]
    for x, q2, values in subgrids:
        lines.append(" ".join(f"{value:.17e}" for value in x))
        lines.append(" ".join(f"{value:.17e}" for value in np.sqrt(q2)))
        lines.append(" ".join(map(str, FLAVORS)))
        for row in values.reshape(-1, values.shape[-1]):
            lines.append(" ".join(f"{value:.17e}" for value in row))
        lines.append("---")
    (folder / f"{folder.name}_0000.dat").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="session")
def make_toy_set(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., ToySet]:
    """Return a function that writes a set with the given Q knots per subgrid."""

    def make(*knots: list[float], jump: float = 0.2, extra: str = "") -> ToySet:
        folder = tmp_path_factory.mktemp("sets") / "Toy"
        subgrids = []
        for number, q in enumerate(knots):
            values = [smooth(pid, X, np.array(q), number * jump) for pid in FLAVORS]
            subgrids.append((X, np.array(q) ** 2, np.stack(values, axis=-1)))
        write_set(folder, subgrids, extra)
        return ToySet(folder, FLAVORS, subgrids)

    return make


@pytest.fixture(scope="session")
def toy_set(make_toy_set: Callable[..., ToySet]) -> ToySet:
    """Two subgrids that meet, with a jump, at Q = 4 GeV."""
    return make_toy_set([1.5, 1.7, 2.0, 3.0, 4.0], [4.0, 6.0, 10.0, 30.0])
