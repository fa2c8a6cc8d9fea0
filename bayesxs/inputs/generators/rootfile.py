"""Trees of events in ROOT files, through uproot: GENIE's gst and NUISANCE's FlatTree_VARS."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bayesxs.errors import InputError
from bayesxs.inputs.generators.events import Chunk
from bayesxs.inputs.generators.source import CrossSection, Progress
from bayesxs.types import Floats

STEP: Final = 250_000  # events in memory at once

type Columns = dict[str, NDArray[Any]]


class Layout(NamedTuple):
    """Names and meanings with which a tree is read.

    Attributes:
        name: of the tree.
        words: what the format is called.
        needed: branches without which nothing is known.
        useful: branches that are read where they are.
        chunk: makes events of the branches.
        channels: names that the chunk's channels point to.
        scale: returns what a unit of weight is in 1e-38 cm^2 per nucleon, and the words for it.
    """

    name: str
    words: str
    needed: Sequence[str]
    useful: Sequence[str]
    chunk: Callable[[Columns], Chunk]
    channels: Sequence[str]
    scale: Callable[[str, set[float]], CrossSection | None]


class TreeSource:
    """Events of one tree; see `bayesxs.inputs.generators.source.Source`."""

    def __init__(self, path: str, layout: Layout) -> None:
        self.path, self.format = path, layout.words
        self.channels: Sequence[str] = layout.channels
        self._layout = layout
        self._scales: set[float] = set()

    def chunks(self, progress: Progress) -> Iterator[Chunk]:
        """Yield the events; see `Source.chunks`."""
        layout, done = self._layout, 0
        with _opened(self.path) as root:
            tree = root[layout.name]
            held = set(tree.keys())
            for branch in layout.needed:
                if branch not in held:
                    allowed = f"has the branches {', '.join(layout.needed)}"
                    raise InputError.at(self.path, f"{layout.name}: {branch}", "missing", allowed)
            branches = [b for b in (*layout.needed, *layout.useful) if b in held]
            total = int(tree.num_entries)
            for columns in tree.iterate(branches, step_size=STEP, library="np"):
                for branch, values in columns.items():
                    if values.ndim != 1 or values.dtype.kind not in "fiub":
                        where, kind = f"{layout.name}: {branch}", values.dtype
                        raise InputError.at(self.path, where, kind, "one number an event")
                done += len(columns[branches[0]])
                if SCALE in columns:
                    self._scales |= set(np.unique(columns[SCALE].astype(float))[:3].tolist())
                yield layout.chunk(columns)
                progress(done / max(total, 1), done)

    def cross_section(self, weights: float) -> CrossSection | None:
        """Return what a unit of weight stands for; see `Source.cross_section`."""
        return self._layout.scale(self.path, self._scales)


SCALE: Final = "fScaleFactor"


def open_tree(path: str, layouts: Sequence[Layout]) -> TreeSource:
    """Find the tree of one of the layouts in a ROOT file.

    Raises:
        InputError: unreadable file, or no such tree (those there are are listed).
    """
    with _opened(path) as root:
        kinds = root.classnames(recursive=True)
        trees = sorted({key.split(";")[0] for key, kind in kinds.items() if kind == "TTree"})
    for layout in layouts:
        if layout.name in trees:
            return TreeSource(path, layout)
    allowed = f"one of {', '.join(layout.name for layout in layouts)}"
    raise InputError.at(path, "trees", ", ".join(trees) or "(none)", allowed)


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    import uproot  # takes half a second

    try:
        with uproot.open(Path(path)) as root:
            yield root
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: cannot be read: No such file or directory") from None
    except Exception as error:  # a damaged or truncated file fails anywhere in uproot
        reason = f"{type(error).__name__} in reading: damaged or truncated"
        raise InputError(f"{path}: cannot be read as a ROOT file: {reason}") from None


def optional(columns: Columns, name: str) -> Floats | None:
    """Return a branch as float64, None where the tree has none."""
    return columns[name].astype(np.float64) if name in columns else None
