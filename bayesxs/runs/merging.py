"""Merge runs that differ in nothing but their chains into one run that has them all."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

from bayesxs.cards.card import Card, differing_keys, load_card, to_toml
from bayesxs.cards.wording import show
from bayesxs.errors import InputError, words
from bayesxs.progress import Reporter
from bayesxs.runs.chains import CHAINS
from bayesxs.runs.files import TRAINING
from bayesxs.runs.pipeline import STAGES, Analysis, device
from bayesxs.storage.atomic import disk_is_full, write_text
from bayesxs.storage.inner import entries
from bayesxs.storage.netcdf import open_group, second_level_groups, tree_writer
from bayesxs.storage.run_folder import CONFIG, MANIFEST, RunFolder

# In these keys alone the cards of merged runs may differ
CHAIN_KEYS: Final = {"sampler.chains", "sampler.first_chain"}


class Part(NamedTuple):
    """A run to be merged."""

    path: Path
    folder: RunFolder
    card: Card

    @property
    def first(self) -> int:
        """Number of its first chain."""
        return self.card.sampler.first_chain

    @property
    def end(self) -> int:
        """Number after that of its last chain."""
        return self.first + self.card.sampler.chains


def merge(out: Path, runs: Sequence[Path], reporter: Reporter | None = None) -> None:
    """Merge runs into a new folder, the same as that of one run of all the chains.

    What follows from the chains, posterior and report, is not made yet.

    Args:
        out: folder to be made.
        runs: folders of two or more runs with finished sampling.
        reporter: says what an interrupted merge had left, and whose the runs are.

    Raises:
        InputError: the runs do not fit together, naming what differs; nothing is left behind.
    """
    if os.path.lexists(out):
        raise InputError(f"{out}: exists: merge makes a new folder")
    say = (reporter or Reporter(False)).line
    for left in _leftovers(out):
        say(f"removed {left}, which an interrupted merge had left")
    parts = _parts(runs)
    for part in parts:
        if part.folder.notice:
            say(f"notice: {part.folder.notice}")
    first, end = parts[0].first, parts[-1].end
    chains = {"sampler.chains": end - first, "sampler.first_chain": first}
    card = load_card(parts[0].path / CONFIG, overrides=chains)
    # Another name until all is there: what has the right name is a run that can be continued
    unfinished = out.absolute().with_name(f".partial-{secrets.token_hex(4)}-{out.name}")
    try:
        with closing(RunFolder.create(unfinished)) as folder:
            _fill(folder, card, parts)
        os.rename(unfinished, out)
    except (InputError, OSError) as error:
        if disk_is_full(error):
            line = f"{out}: disk full: nothing was merged; free some space, then merge again"
            raise InputError(line) from error
        if isinstance(error, OSError):
            raise InputError(f"{out}: cannot write: {error.strerror}") from error
        raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _leftovers(out: Path) -> Iterator[Path]:
    """Remove what killed merges into the same folder have left, and name it."""
    place = out.absolute().parent
    own = re.compile(rf"\.partial-[0-9a-f]{{8}}-{re.escape(out.name)}")
    for name in entries(place):
        path = place / name
        if own.fullmatch(name) and path.is_dir() and not path.is_symlink():
            try:
                RunFolder.create(path, resume=True).close()  # one that nobody writes in
            except InputError:
                continue
            shutil.rmtree(path)
            yield path


def _fill(folder: RunFolder, card: Card, parts: Sequence[Part]) -> None:
    """Put the chains of all parts, and what they share, into a folder."""
    analysis = Analysis(card, folder, Reporter(False), str(parts[0].path / CONFIG))
    write_text(folder.path / CONFIG, to_toml(card))
    folder.record(
        device=device(),
        seeds={"seed": card.seed},
        merged=[f"{part.path}: chains {_span(part.first, part.end)}" for part in parts],
    )
    for name in (*_before("sample"), "density", "bootstrap"):
        for part in parts:
            if part.folder.stages.get(name, {}).get("key") == analysis.key(name):
                folder.copy_stage(name, part.folder)
                break
    records = [part.folder.stages["sample"] for part in parts]
    spent = [_spent(part) for part in parts]
    with folder.stage("sample", analysis.key("sample")) as stage:
        stage.earlier_seconds = sum(record["seconds"] for record in records)
        stage.notes["sampling_seconds"] = {
            name: sum(seconds.get(name, 0.0) for seconds in spent) for name in spent[0]
        }
        with tree_writer(stage.output(CHAINS)) as writer:
            for part in parts:
                chains = part.folder.path / CHAINS
                for group in second_level_groups(chains):
                    with open_group(chains, group) as data:
                        writer.write(
                            group,
                            data,
                            sizes={"chain": card.sampler.chains},
                            at={"chain": part.first - parts[0].first},
                        )


def _spent(part: Part) -> dict[str, float]:
    """Return how long each posterior of a run was sampled.

    Raises:
        InputError: its manifest does not say.
    """
    spent = part.folder.note("sample", "sampling_seconds")
    if not isinstance(spent, dict) or not all(type(s) in (int, float) for s in spent.values()):
        allowed = "seconds of each posterior"
        key = "stages.sample.notes.sampling_seconds"
        raise InputError.at(part.path / MANIFEST, key, spent, allowed)
    return spent


def _parts(runs: Sequence[Path]) -> list[Part]:
    """Open the runs, in the order of their chains.

    Raises:
        InputError: they do not fit together.
    """
    if len(runs) < 2:
        raise InputError.at("bayesxs merge", "runs", len(runs), "two or more")
    parts = []
    for path in runs:
        folder = RunFolder.view(path)
        parts.append(Part(path, folder, load_card(folder.path / CONFIG)))
    for part in parts:
        for name in (*_before("sample"), "sample"):
            part.folder.check_outputs(name)
    for part in parts[1:]:
        _require_same(part, parts[0])
    for part in parts:
        _require_own_chains(part)
    parts.sort(key=lambda part: part.first)
    for one, other in pairwise(parts):
        _require_next(other, one)
    return parts


def _require_same(part: Part, first: Part) -> None:
    """Refuse a run that differs from the first in more than its chains.

    Raises:
        InputError: naming file, key and both values.
    """
    changed = [key for key in differing_keys(part.card, first.card) if key not in CHAIN_KEYS]
    if changed:
        values = [show(_value(p.card, changed[0])) for p in (part, first)]
        others = f" (also differing: {', '.join(changed[1:])})" if changed[1:] else ""
        allowed = f"must be {values[1]} as in {first.path}{others}"
        raise InputError.at(part.path / CONFIG, changed[0], values[0], allowed)
    for name in _before("sample"):
        mine, its = (p.folder.stages[name] for p in (part, first))
        if mine["key"] != its["key"]:
            allowed = (
                f"must be {_short(its['key'])} as in {first.path}: stage {name} had other input "
                "files or another version of bayesxs"
            )
            key = f"stages.{name}.key"
            raise InputError.at(part.path / MANIFEST, key, _short(mine["key"]), allowed)
        for output, digest in its["outputs"].items():
            found = mine["outputs"].get(output, "none")
            if output != TRAINING and found != digest:
                allowed = (
                    f"must be {_short(digest)} as in {first.path}: make further chains in a copy "
                    "of that folder, so that they are of the same data and networks"
                )
                raise InputError.at(part.path / output, "SHA-256", _short(found), allowed)


def _require_own_chains(part: Part) -> None:
    """Refuse a run whose chains are not those that its card describes.

    Raises:
        InputError: naming the stage.
    """
    source = str(part.path / CONFIG)
    analysis = Analysis(part.card, part.folder, Reporter(False), source)
    for name in (*_before("sample"), "sample"):
        found, own = part.folder.stages[name]["key"], analysis.key(name)
        if found != own:
            allowed = (
                f"must be {_short(own)}: stage {name} is of another card, of other input files or "
                f"of another version of bayesxs: {words().again} makes it anew"
            )
            raise InputError.at(part.path / MANIFEST, f"stages.{name}.key", _short(found), allowed)


def _require_next(part: Part, before: Part) -> None:
    """Refuse a run whose chains do not follow those of the run before it.

    Raises:
        InputError: naming the chains that are there twice, or not at all.
    """
    if part.first < before.end:
        twice = _span(part.first, min(part.end, before.end))
        allowed = f"must be >= {before.end}: {before.path} has chains {twice} too"
    elif part.first > before.end:
        allowed = f"must be {before.end}: no run has chains {_span(before.end, part.first)}"
    else:
        return
    raise InputError.at(part.path / CONFIG, "sampler.first_chain", part.first, allowed)


def _before(stage: str) -> list[str]:
    """List the stages on which a stage builds, the first one first."""
    found: list[str] = []
    for name in STAGES[stage][1]:
        found += [*_before(name), name]
    return list(dict.fromkeys(found))


def _value(card: Card, key: str) -> Any:
    value: Any = card.model_dump(mode="json")
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return "(none)" if value is None else value


def _short(digest: str) -> str:
    return digest[:12]


def _span(first: int, end: int) -> str:
    return str(first) if end == first + 1 else f"{first} to {end - 1}"
