"""Weight files: the learned networks of a run, one or several per target, without pickles."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from bayesxs.atomic import read_arrays, write_arrays
from bayesxs.checkpoint import starting_with
from bayesxs.config import Card
from bayesxs.errors import InputError
from bayesxs.learning.network import (
    Architecture,
    Average,
    Network,
    network_arrays,
    network_from_arrays,
)
from bayesxs.manifest import package_version

FORMAT = "bayesxs-network-1"


def conditions(card: Card) -> dict[str, object]:
    """Return the beam and the range that the weights of a card's run depend on."""
    beam = card.beam
    return {
        "beam": beam.mode,
        "energy_min_GeV": beam.energy_min_GeV,
        "energy_max_GeV": beam.energy_max_GeV,
    }


def write_networks(
    path: Path,
    networks: Mapping[str, Sequence[Network]],
    architecture: Architecture,
    conditions: Mapping[str, object],
) -> None:
    """Write the networks of every target, with the architecture and what they were trained for.

    Args:
        path: the safetensors file.
        networks: members by target name.
        architecture: of all of them.
        conditions: beam mode, energy range and so on; a later use under others is refused.
    """
    arrays = {
        f"{target}/{index}/{name}": array
        for target, members in networks.items()
        for index, member in enumerate(members)
        for name, array in network_arrays(member).items()
    }
    metadata = {
        "format": FORMAT,
        "package": package_version(),
        "members": json.dumps({target: len(members) for target, members in networks.items()}),
        "conditions": json.dumps(dict(conditions), sort_keys=True),
    }
    write_arrays(path, arrays, metadata | architecture.as_metadata())


def read_networks(
    path: Path, targets: Sequence[str], conditions: Mapping[str, object]
) -> dict[str, Average]:
    """Read the networks of the targets asked for.

    Raises:
        InputError: the file is no weight file, lacks a target, or was trained under other
            conditions.
    """
    arrays, metadata = read_arrays(path)
    if metadata.get("format") != FORMAT:
        shown = metadata.get("format", "absent")
        raise InputError.at(path, "format", shown, f"must be {FORMAT}")
    try:
        kind = Architecture.from_metadata(metadata)
        members = json.loads(metadata["members"])
        trained = json.loads(metadata["conditions"])
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: damaged header: {error}") from None
    for key, value in conditions.items():
        if trained.get(key) != value:
            raise InputError.at(
                path, key, value, f"the weights were trained for {trained.get(key)}"
            )
    out = {}
    for target in targets:
        if target not in members:
            raise InputError.at(path, "target", target, f"the file holds {', '.join(members)}")
        networks = []
        for index in range(members[target]):
            own = starting_with(f"{target}/{index}/", arrays)
            try:
                networks.append(network_from_arrays(kind, own))
            except ValueError as error:
                raise InputError(f"{path}: {target}: {error}") from None
        out[target] = Average(networks)
    return out
