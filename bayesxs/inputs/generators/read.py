"""Any file of events: by its name to a reader, and through the checks to the common type."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np

from bayesxs.errors import InputError
from bayesxs.inputs.generators.events import (
    EVERYTHING,
    UNKNOWN,
    Chunk,
    Counts,
    GeneratorEvents,
    Rules,
    check_rules,
)
from bayesxs.inputs.generators.flat_tree import FLAT_TREE
from bayesxs.inputs.generators.gst import GST
from bayesxs.inputs.generators.nuhepmc import COMPRESSED, SUFFIXES, NuHepMCSource
from bayesxs.inputs.generators.rootfile import open_tree
from bayesxs.inputs.generators.selection import select
from bayesxs.inputs.generators.source import CrossSection, Progress, Source
from bayesxs.inputs.generators.table import CsvSource, NpzSource, ParquetSource

_OPENERS: Final[dict[str, Callable[[str, int | None], Source]]] = {
    ".root": lambda path, neutrino: open_tree(path, (GST, FLAT_TREE)),
    ".parquet": ParquetSource,
    ".csv": CsvSource,
    ".npz": NpzSource,
    **{
        f"{s}{c}": lambda path, neutrino: NuHepMCSource(path)
        for s in SUFFIXES
        for c in ("", *COMPRESSED)
    },
}


def open_source(path: str | Path, neutrino: int | None = None) -> Source:
    """Return the reader of a file, which its name's ending tells.

    Args:
        path: the file.
        neutrino: PDG id of the events of a table that does not name them; 14 by default.

    Raises:
        InputError: an ending of no known format, no such file, or a ROOT file without a known tree.
    """
    name = str(path)
    try:
        present = Path(name).is_file()
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: cannot be read: {error}") from None
    if not present:
        raise InputError(f"{name}: cannot be read: no such file")
    for ending, opener in _OPENERS.items():
        if name.lower().endswith(ending):
            return opener(name, neutrino)
    raise InputError.at(name, "ending", Path(name).suffix, f"one of {', '.join(_OPENERS)}")


class EventStream:
    """Events of a file, checked and selected, a bounded number at a time.

    Iterate over it once; what is known of the whole file stands in it afterwards.

    Attributes:
        counts: events so far, and those left out.
        targets: PDG ids so far of the events that were kept.
    """

    def __init__(
        self,
        path: str | Path,
        rules: Rules = EVERYTHING,
        progress: Progress = lambda share, events: None,
        several_targets: bool = False,
    ) -> None:
        """Open a file.

        Args:
            path: the file.
            rules: what is wanted of it.
            progress: called with the part of the file that was read, and the events so far.
            several_targets: whether events of several nuclei may come together.

        Raises:
            InputError: see `open_source`, or a neutrino that is none.
        """
        check_rules(rules, str(path))
        self._source = open_source(path, rules.neutrino)
        self._rules, self._progress, self._several = rules, progress, several_targets
        self.counts = Counts()
        self.targets: set[int] = set()
        self._all_weights = self._kept_weights = 0.0

    @property
    def path(self) -> str:
        """The file."""
        return self._source.path

    @property
    def format(self) -> str:
        """Name of its format."""
        return self._source.format

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels that were met so far."""
        return tuple(self._source.channels)

    @property
    def target(self) -> int | None:
        """PDG id of the only target, None where the file does not tell or there are several."""
        known = self.targets - {UNKNOWN}
        return next(iter(known)) if len(known) == len(self.targets) == 1 else self._rules.target

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the events that are wanted.

        Raises:
            InputError: see `Source.chunks` and `select`; several targets, of which none is chosen;
                at the end, too few events, or weights that are all zero.
        """
        for raw in self._source.chunks(self._progress):
            chunk, counts = select(raw, self._rules, self.path, self.counts.read)
            self.counts = self.counts.plus(counts)
            self.targets |= set(np.unique(chunk.target).tolist())
            self._check_targets()
            self._all_weights += float(np.sum(raw.weight))
            self._kept_weights += float(np.sum(chunk.weight))
            if len(chunk.energy):
                yield chunk
        self._check_end()

    def _check_targets(self) -> None:
        if len(self.targets) > 1 and not self._several:
            found = ", ".join(map(str, sorted(self.targets)))
            allowed = "one nucleus: choose it, and the others are left out"
            raise InputError.at(self.path, "targets", found, allowed)

    def _check_end(self) -> None:
        counts = self.counts
        if counts.kept < max(self._rules.at_least, 1):
            left_out = (
                f"{counts.kept} of {counts.read} ({counts.not_charged_current} of no charged "
                f"current, {counts.other_flavor} of another flavor, "
                f"{counts.other_target} on another target)"
            )
            allowed = f"at least {max(self._rules.at_least, 1)}"
            raise InputError.at(self.path, "charged-current events", left_out, allowed)
        if not self._kept_weights > 0.0:
            raise InputError.at(self.path, "weight", "all zero", "some above zero")

    def scale(self) -> CrossSection | None:
        """Return what a unit of weight stands for, after the last event.

        Raises:
            InputError: see `Source.cross_section`.
        """
        return self._source.cross_section(self._all_weights)

    def cross_section(self) -> float | None:
        """Return the flux-averaged cross section of the events kept, after the last of them.

        In 1e-38 cm^2 per nucleon; None where the file does not tell.

        Raises:
            InputError: units that are not known.
        """
        scale = self.scale()
        if scale is None:
            return None
        return scale.per_nucleon(self._kept_weights, self.target, self.path)


def read_events(
    path: str | Path,
    rules: Rules = EVERYTHING,
    progress: Progress = lambda share, events: None,
) -> GeneratorEvents:
    """Read a file of events whole: some 60 bytes for each.

    Args:
        path: GENIE gst or NUISANCE flat tree (.root), NuHepMC (.hepmc3, also .gz), or a table
            (.parquet, .csv, .npz) with the columns E_nu_GeV, E_l_GeV, cos_theta, and, where there
            are any, weight, pdg_nu, pdg_l, channel, target.
        rules: what is wanted of it.
        progress: called with the part of the file that was read, and the events so far.

    Raises:
        InputError: see `EventStream`.

    Example:
        >>> rows = [[2.0, 1.2, 0.9], [3.1, 2.5, 0.98]]
        >>> names = "E_nu_GeV,E_l_GeV,cos_theta"
        >>> np.savetxt("events.csv", rows, delimiter=",", header=names, comments="")
        >>> bayesxs.read_events("events.csv").counts.kept
        2
    """
    stream = EventStream(path, rules, progress)
    chunks = list(stream)
    columns = {
        name: np.concatenate([getattr(chunk, name) for chunk in chunks])
        for name in ("energy", "lepton_energy", "cos_theta", "weight", "pdg_nu", "pdg_l", "channel")
    }
    return GeneratorEvents(
        **columns,
        channels=stream.channels,
        target=stream.target,
        cross_section=stream.cross_section(),
        source=stream.path,
        counts=stream.counts,
    )
