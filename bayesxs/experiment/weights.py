"""Weight files: the learned networks of a run, one or several per target, without pickles."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from bayesxs.detector.density import LEPTON_MASS
from bayesxs.errors import InputError, shown
from bayesxs.experiment.experiment import Experiment
from bayesxs.learning.heads import Lepton
from bayesxs.learning.network import (
    Architecture,
    Average,
    Network,
    network_arrays,
    network_from_arrays,
)
from bayesxs.storage.atomic import parse_json, read_arrays, write_arrays
from bayesxs.storage.checkpoint import starting_with
from bayesxs.storage.manifest import package_version
from bayesxs.types import Floats

FORMAT = "bayesxs-network-1"

# A file larger than this holds no networks of this package
MOST_BYTES = 200_000_000


def conditions(*beams: Experiment) -> dict[str, object]:
    """Return the beams, range and phase space that weights depend on, of one experiment a beam."""
    low, high = beams[0].energy_range
    return {
        "beam": ", ".join(own.samples[0].beam for own in beams),
        "energy_min_GeV": low,
        "energy_max_GeV": high,
        "x_max": beams[0].space.x_max,
    }


def lepton_of(target: str) -> Lepton:
    """Return the lepton of a target by its name, such as "anti_mu" or "anti_mu, beam 1"."""
    name = target.partition(",")[0]
    flavor = name.removeprefix("anti_")
    return Lepton(LEPTON_MASS[flavor], 1 if flavor == name else -1)


def write_networks(
    path: Path,
    networks: Mapping[str, Sequence[Network]],
    conditions: Mapping[str, object],
) -> None:
    """Write the networks of every target, with their architecture and what they were trained for.

    Args:
        path: the safetensors file.
        networks: members by target name.
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
    (architecture, *others) = {n.architecture for members in networks.values() for n in members}
    assert not others  # one file, one architecture
    write_arrays(path, arrays, metadata | architecture.as_metadata())


def read_networks(
    path: Path, targets: Sequence[str], conditions: Mapping[str, object]
) -> dict[str, Average]:
    """Read the networks of the targets asked for.

    Raises:
        InputError: the file is no weight file, lacks a target, or was trained under other
            conditions.
    """
    arrays, metadata = read_arrays(path, MOST_BYTES)
    if metadata.get("format") != FORMAT:
        raise InputError.at(path, "format", metadata.get("format", "absent"), f"must be {FORMAT}")
    try:
        kind = Architecture.from_metadata(metadata)
    except ValueError as error:
        raise InputError(f"{path}: damaged header: {error}") from None
    members, trained = (_table(path, name, metadata) for name in ("members", "conditions"))
    if kind.inputs != "ridge":  # files without this key are older than any other phase space
        trained = {"x_max": 1.0} | trained
    for key, value in conditions.items():
        if trained.get(key) != value:
            allowed = f"the weights were trained for {shown(trained.get(key))}"
            if key not in trained:
                allowed = "the file does not say for which one the weights were trained"
            raise InputError.at(path, key, value, allowed)
    out = {}
    for target in targets:
        if target not in members:
            raise InputError.at(path, "target", target, f"the file holds {', '.join(members)}")
        count = members[target]
        if type(count) is not int or not 1 <= count <= len(arrays):
            allowed = f"a number of networks, 1 to {len(arrays)}, as there are so many arrays"
            raise InputError.at(path, f"members.{target}", count, allowed)
        networks = []
        for index in range(count):
            own = starting_with(f"{target}/{index}/", arrays)
            try:
                networks.append(network_from_arrays(kind, own, lepton_of(target)))
            except ValueError as error:
                raise InputError(f"{path}: {target}/{index}: {error}") from None
        out[target] = Average(networks)
        _require_values(path, target, out[target])
    return out


def _table(path: Path, name: str, metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return an entry of the header that is a JSON table.

    Raises:
        InputError: it is missing, or none.
    """
    table = parse_json(f"{path}: {name}", metadata.get(name, ""))
    if not isinstance(table, dict):
        raise InputError.at(path, name, metadata[name], "must be a table")
    return table


def _require_values(path: Path, target: str, network: Average) -> None:
    """Refuse a network that overflows, or gives nothing, where events are.

    Raises:
        InputError: it does.
    """
    x, q2 = np.meshgrid(np.geomspace(1e-3, 0.99, 12), np.geomspace(1e-3, 20.0, 12))
    values = np.asarray(_values(network, x, q2))
    if not np.isfinite(values).all() or not np.any(values):
        fault = "gives zero everywhere" if np.isfinite(values).all() else "gives NaN or infinity"
        raise InputError(f"{path}: {target}: the network {fault}")


@jax.jit
def _values(network: Average, x: Floats, q2: Floats) -> jax.Array:
    return network(x, q2)
