"""Events of a generator from arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from bayesxs.errors import InputError
from bayesxs.inputs.generators.events import (
    EVERYTHING,
    UNKNOWN,
    GeneratorEvents,
    Rules,
    check_rules,
    make_chunk,
)
from bayesxs.inputs.generators.selection import select
from bayesxs.inputs.generators.table import DEFAULT_NEUTRINO


def events_from_arrays(
    energy: ArrayLike,
    lepton_energy: ArrayLike,
    cos_theta: ArrayLike,
    *,
    weight: ArrayLike | None = None,
    pdg_nu: ArrayLike = DEFAULT_NEUTRINO,
    pdg_l: ArrayLike | None = None,
    channel: ArrayLike = -1,
    channels: Sequence[str] = (),
    target: int | None = None,
    cross_section: float | None = None,
    rules: Rules = EVERYTHING,
    source: str = "events",
) -> GeneratorEvents:
    """Make events of arrays, each of shape (n,) or a single value.

    Args:
        energy: of the neutrino, GeV.
        lepton_energy: total energy of the lepton, GeV.
        cos_theta: cosine of its angle to the neutrino.
        weight: >= 0; 1 by default.
        pdg_nu: PDG ids of the neutrinos.
        pdg_l: PDG ids of the leptons; by default those of the charged current.
        channel: index into channels, -1 for none.
        channels: names.
        target: PDG id of the nucleus.
        cross_section: flux-averaged, of all events, 1e-38 cm^2 per nucleon.
        rules: what is wanted of them.
        source: what messages call them.

    Raises:
        InputError: columns of unequal length, or what `select` refuses.

    Example:
        >>> own = bayesxs.events_from_arrays([2.0, 3.1], [1.2, 2.5], [0.9, 0.98], weight=[1.0, 3.0])
        >>> len(own), round(own.effective, 1)
        (2, 1.6)
    """
    check_rules(rules, source)
    size = np.shape(energy)
    if len(size) != 1:
        raise InputError.at(source, "energy: shape", size, "(n,)")
    named = (
        ("lepton_energy", lepton_energy),
        ("cos_theta", cos_theta),
        ("weight", weight),
        ("pdg_nu", pdg_nu),
        ("pdg_l", pdg_l),
        ("channel", channel),
    )
    for name, values in named:
        if values is not None and np.shape(values) not in ((), size):
            raise InputError.at(source, f"{name}: shape", np.shape(values), f"{size}, as energy")
    raw = make_chunk(
        energy,
        lepton_energy,
        cos_theta,
        weight=weight,
        pdg_nu=pdg_nu,
        pdg_l=pdg_l,
        channel=channel,
        target=UNKNOWN if target is None else target,
    )
    chunk, counts = select(raw, rules, source, 0)
    if counts.kept < max(rules.at_least, 1):
        allowed = f"at least {max(rules.at_least, 1)}"
        raise InputError.at(source, "charged-current events", counts.kept, allowed)
    if not np.any(chunk.weight > 0.0):
        raise InputError.at(source, "weight", "all zero", "some above zero")
    share = float(chunk.weight.sum() / raw.weight.sum())
    return GeneratorEvents(
        energy=chunk.energy,
        lepton_energy=chunk.lepton_energy,
        cos_theta=chunk.cos_theta,
        weight=chunk.weight,
        pdg_nu=chunk.pdg_nu,
        pdg_l=chunk.pdg_l,
        channel=chunk.channel,
        channels=tuple(channels),
        target=target,
        cross_section=None if cross_section is None else cross_section * share,
        source=source,
        counts=counts,
    )
