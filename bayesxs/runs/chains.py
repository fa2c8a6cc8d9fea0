"""Long chains: pieces of them on the disk while they grow, and the file of all of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import jax
import numpy as np

from bayesxs.errors import InputError, words
from bayesxs.inference.posterior import posterior_tree
from bayesxs.inference.priors import Prior
from bayesxs.inference.sampling import Draws, Piece, SamplerSettings
from bayesxs.storage.inner import entries, remove
from bayesxs.storage.netcdf import TreeWriter
from bayesxs.storage.run_folder import Stage

CHAINS: Final = "chains.nc"

# Of the number of steps in the name of a piece
_DIGITS: Final = 10


class ChainPieces:
    """The pieces of a posterior's chains, each in a checkpoint file of its own.

    A file holds the draws of a piece and the state after them. The chains go on from the last of
    the pieces that are whole and of this stage's content key, without a gap from the first on.
    """

    def __init__(self, stage: Stage, label: str, settings: SamplerSettings) -> None:
        """Look at pieces of a stage; a label tells several posteriors of one stage apart."""
        self.settings = settings
        self._stage = stage
        self._label = label

    def resume(self) -> dict[str, np.ndarray] | None:
        """Return the state from which to go on, None at the start; remove pieces after it."""
        state = None
        for end in self.settings.ends:
            if (piece := self._load(end)) is None:
                break
            state = piece.state
        done = 0 if state is None else int(state["done"])
        folder = self._stage.folder.checkpoint_path(self._stage.name).parent
        kept = {self._path(end) for end in self.settings.ends if end <= done}
        own = re.compile(rf"{re.escape(self._label)}-[0-9]{{{_DIGITS}}}\.safetensors")
        for name in entries(folder):
            if own.fullmatch(name) and folder / name not in kept:
                remove(folder / name)
        return state

    def save(self, piece: Piece) -> None:
        """Keep a piece."""
        arrays = {f"state/{name}": array for name, array in piece.state.items()}
        if piece.draws is not None:
            arrays |= {f"sites/{name}": array for name, array in piece.draws.sites.items()}
            arrays |= {f"statistics/{n}": array for n, array in piece.draws.statistics.items()}
        self._stage.save_checkpoint(arrays, label=self._name(piece.done))

    def draws(self) -> Iterator[Draws]:
        """Read the draws of one piece after the other.

        Raises:
            InputError: a piece is missing or damaged.
        """
        for end in self.settings.ends:
            if end <= self.settings.warmup:
                continue
            piece = self._load(end)
            if piece is None or piece.draws is None:
                raise InputError(
                    f"{self._path(end)}: missing or damaged: {words().again} makes it anew"
                )
            yield piece.draws

    def _name(self, end: int) -> str:
        return f"{self._label}-{end:0{_DIGITS}d}"

    def _path(self, end: int) -> Path:
        return self._stage.folder.checkpoint_path(self._stage.name, self._name(end))

    def _load(self, end: int) -> Piece | None:
        """Return a piece, or None if there is no whole one of this stage's key."""
        try:
            kept = self._stage.load_checkpoint(self._name(end))
        except InputError:
            return None
        if kept is None:
            return None
        parts: dict[str, dict[str, np.ndarray]] = {"state": {}, "sites": {}, "statistics": {}}
        for name, array in kept[0].items():
            part, _, rest = name.partition("/")
            if part not in parts:
                return None
            parts[part][rest] = array
        if "done" not in parts["state"]:
            return None
        draws = Draws(parts["sites"], parts["statistics"]) if parts["statistics"] else None
        return Piece(end, draws, parts["state"])


class Posterior(NamedTuple):
    """Chains on the disk that make a posterior.

    Attributes:
        name: of its groups in the file of all chains, e.g. "events_truth".
        pieces: of the chains.
        octant_key: random key for the octants.
        nuisances: their names.
        priors: of the sampled parameters.
    """

    name: str
    pieces: ChainPieces
    octant_key: jax.Array
    nuisances: Sequence[str]
    priors: Mapping[str, Prior]


def write_posterior(writer: TreeWriter, posterior: Posterior) -> None:
    """Write a posterior into the file of all chains, piece by piece."""
    settings = posterior.pieces.settings
    first = 0
    for draws in posterior.pieces.draws():
        tree = posterior_tree(
            draws,
            posterior.octant_key,
            posterior.nuisances,
            first_chain=settings.first_chain,
            first_draw=first,
            priors=posterior.priors,
        )
        for group, node in tree.children.items():
            writer.write(
                f"{posterior.name}/{group}",
                node.to_dataset(inherit=False),
                sizes={"draw": settings.draws},
                at={"draw": first},
            )
        first += next(iter(draws.statistics.values())).shape[1]
