"""Where near-detector data of every target come from: simulated, from files or arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, cast

import jax
import numpy as np

from bayesxs.detector.density import simulate_events
from bayesxs.errors import InputError
from bayesxs.experiment.experiment import Experiment
from bayesxs.experiment.geometry import Target
from bayesxs.experiment.leptons import EDGE, MOST, Leptons
from bayesxs.experiment.near import NearData, NearSource
from bayesxs.inputs.counts import CountTable
from bayesxs.keys import Purpose, derive, generator
from bayesxs.physics.kinematics import cosine_from_z


def make_near_data(
    experiment: Experiment,
    events: float | Leptons | Mapping[str, float] | Mapping[str, Leptons],
    key: jax.Array | int | None,
    file: str | Path | None,
    counts: CountTable | Mapping[str, CountTable] | None,
    *,
    impossible: Literal["refuse", "drop"],
    samples: Sequence[str] = (),
    one_by_one: bool = False,
) -> NearData:
    """Return near data from one of three sources; see `Experiment.near_data`.

    Where nature is a generator's events, they are the near part of these.
    """
    names = [t.name for t in experiment.unique_targets]
    numbers = _numbers(events, names)
    arrays = cast("Leptons | Mapping[str, Leptons]", events) if numbers is None else None
    number = np.inf if numbers is None else min(numbers.values())
    sources = {
        "events": arrays is not None or np.isfinite(number),
        "file": file is not None,
        "counts": counts is not None,
    }
    given = [name for name, present in sources.items() if present]
    if len(given) > 1:
        raise InputError.at("near_data", given[1], "given", f"without {given[0]}: choose one")
    if np.isfinite(number) and key is None:
        raise InputError.at("near_data", "key", None, "a seed or key: counts fluctuate")
    if file is not None and len(names) > 1 and "{target}" not in str(file):
        allowed = f"a name with {{target}}, which stands for {', '.join(names)}"
        raise InputError.at("near_data", "file", file, allowed)
    if experiment.generated and given in ([], ["events"]) and arrays is None:
        generated = generated_sources(experiment, number, key, "near_data")
        return NearData(experiment, generated, tuple(samples))
    tables = _by_target("counts", counts, names)
    leptons = _by_target("events", arrays, names)
    drawn = drawn_leptons(experiment, number, key, "near_data") if one_by_one else {}
    return NearData(
        experiment,
        {
            name: NearSource(
                np.inf if numbers is None else numbers[name],
                None if key is None else derive(key, Purpose.NEAR, place),
                None if file is None else Path(str(file).replace("{target}", name)),
                impossible,
                "near_data",
                table=tables.get(name),
                leptons=leptons.get(name),
                draw=drawn.get(name),
            )
            for place, name in enumerate(names)
        },
        tuple(samples),
    )


def _numbers(events: object, names: Sequence[str]) -> dict[str, float] | None:
    """Return the number of events of each target; None where they are arrays.

    Raises:
        InputError: not one for each target, or not above zero.
    """
    if isinstance(events, (int, float)):
        return dict.fromkeys(names, float(events))
    if not isinstance(events, Mapping) or isinstance(next(iter(events.values()), None), Leptons):
        return None
    if set(events) != set(names):
        allowed = f"one for each of {', '.join(names)}"
        raise InputError.at("near_data", "events", ", ".join(events), allowed)
    for name, number in events.items():
        if not number > 0.0:
            raise InputError.at("near_data", f"events, {name}", number, "above 0")
    return {name: float(number) for name, number in events.items()}


def _by_target[T: (CountTable, Leptons)](
    argument: str, given: T | Mapping[str, T] | None, names: Sequence[str]
) -> Mapping[str, T]:
    """Return what is given for each target.

    Raises:
        InputError: not for each, or one for several.
    """
    if given is None:
        return {}
    own = given if isinstance(given, Mapping) else dict.fromkeys(names[:1], given)
    if set(own) != set(names):
        allowed = f"one for each of {', '.join(names)}"
        raise InputError.at("near_data", argument, ", ".join(own), allowed)
    return own


def drawn_leptons(
    experiment: Experiment,
    number: float,
    key: jax.Array | int | None,
    source: str,
    prefix: str = "",
) -> dict[str, Callable[[], Leptons]]:
    """Return what draws a number of events of the true cross section, one by one, by target.

    Args:
        experiment: whose near detector sees them.
        number: of each target.
        key: random key or seed.
        source: what messages call it.
        prefix: of the names that messages give to arguments.

    Raises:
        InputError: too many, or no number at all.
    """
    if not 0 < number <= MOST or key is None:
        allowed = f"a number up to {MOST}: events are taken one by one"
        raise InputError.at(source, f"{prefix}events", number, allowed)
    return {
        target.name: partial(
            _draw, experiment, target, int(number), derive(key, Purpose.NEAR, place)
        )
        for place, target in enumerate(experiment.unique_targets)
    }


def _draw(experiment: Experiment, target: Target, number: int, key: jax.Array) -> Leptons:
    geometry = experiment.geometry(target)
    flux = partial(experiment.flux, target.sample.flux_id)
    mass, span = geometry.lepton_mass, experiment.energy_range
    sf, space = geometry.true_functions, geometry.space
    drawn = simulate_events(key, sf, flux, span, mass, number, space)
    cosine = np.asarray(cosine_from_z(drawn.lepton_energy, drawn.z, mass))
    return Leptons(drawn.lepton_energy, np.clip(cosine, -EDGE, EDGE), np.ones(number))


def generated_sources(
    experiment: Experiment,
    events: float,
    key: jax.Array | int | None,
    source: str,
    prefix: str = "",
) -> dict[str, NearSource]:
    """Return near data that are events of a generator, by target.

    Args:
        experiment: whose nature they are.
        events: number that is taken of the near part; infinite for all.
        key: of the draw, and of what a detector makes of them.
        source: what messages call it.
        prefix: of the names that messages give to arguments.

    Raises:
        InputError: more events than there are, or a draw or a detector without a key.
    """
    sources = {}
    for number, (name, split) in enumerate(experiment.generated.items()):
        own = None if key is None else derive(key, Purpose.NEAR, number)
        leptons, most = split.near, len(split.near.weight)
        if own is None and (np.isfinite(events) or experiment.detector is not None):
            raise InputError.at(source, f"{prefix}key", None, "a seed or key: events are drawn")
        if np.isfinite(events) and own is not None:
            if events > most:
                allowed = f"at most {most}, the near part of the generator's events"
                raise InputError.at(source, f"{prefix}events", int(events), allowed)
            leptons = leptons.drawn(int(events), generator(own))
        sources[name] = NearSource(
            key=own, impossible="drop", source=source, prefix=prefix, leptons=leptons
        )
    return sources
