"""The selection of a generator's events; of one that no file may hold, one line says which."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from bayesxs.errors import InputError
from bayesxs.inputs.generators.events import Chunk, Counts, Rules, lepton_mass, lepton_of
from bayesxs.types import Floats

# Half of the neutrinos above it: energies are in MeV. GeV
MOST: Final = 100.0

# What single precision, and masses of some generator's own, do to E^2 - p^2, over E^2 and m^2
_ROUNDING: Final = 1e-5
_OWN_MASS: Final = 0.02

# A nucleus in its ground state gives no energy to the lepton, but removal energies are rounded. GeV
_ABOVE: Final = 0.1

_BEYOND_ONE: Final = 1e-5  # of a rounded cosine


def select(chunk: Chunk, rules: Rules, source: str, first: int) -> tuple[Chunk, Counts]:
    """Return the events that are wanted, checked, and how many are not.

    Args:
        chunk: as a reader gives it.
        rules: what is wanted.
        source: the file, named in messages.
        first: number of the chunk's first event in the file, counted from zero.

    Raises:
        InputError: unwanted events that are refused; values that are not finite, weights below
            zero, cosines beyond one, energies in MeV, a lepton whose momentum contradicts its mass
            or whose energy is above the neutrino's.
    """
    charged = chunk.charged & (chunk.pdg_l == lepton_of(chunk.pdg_nu))
    charged &= np.isfinite(lepton_mass(chunk.pdg_l))
    flavor = np.full(len(charged), True) if rules.neutrino is None else _is(chunk, rules.neutrino)
    target = chunk.target == rules.target if rules.target is not None else flavor | True
    reasons = (
        ("neutral-current or other", "an event of the charged current on a nucleus", ~charged),
        ("neutrino", f"pdg_nu = {rules.neutrino}", charged & ~flavor),
        ("target", f"the nucleus {rules.target}", charged & flavor & ~target),
    )
    if rules.unwanted == "refuse":
        shown = (_current(chunk), chunk.pdg_nu, chunk.target)
        for (name, allowed, bad), values in zip(reasons, shown, strict=True):
            _refuse(source, name, values, bad, first, allowed)
    kept = charged & flavor & target
    counts = Counts(len(kept), *(int(bad.sum()) for *_, bad in reasons))
    places = first + np.flatnonzero(kept)
    return _checked(chunk if kept.all() else chunk.taken(kept), source, places), counts


def _is(chunk: Chunk, neutrino: int) -> NDArray[np.bool_]:
    return np.asarray(chunk.pdg_nu == neutrino)


def _current(chunk: Chunk) -> NDArray[np.str_]:
    leptons = np.char.add(" -> ", chunk.pdg_l.astype(str))
    return np.char.add(chunk.pdg_nu.astype(str), leptons)


def _checked(chunk: Chunk, source: str, places: NDArray[np.intp]) -> Chunk:
    """Check the values of events that are wanted; places are their numbers in the file."""
    if not len(places):
        return chunk
    named = {
        "E_nu_GeV": chunk.energy,
        "E_l_GeV": chunk.lepton_energy,
        "cos_theta": chunk.cos_theta,
        "weight": chunk.weight,
    }
    for name, values in named.items():
        _refuse(source, name, values, ~np.isfinite(values), places, "finite")
    _refuse(source, "weight", chunk.weight, chunk.weight < 0.0, places, "not below zero")
    _check_energies(chunk, source, places)
    cosine = chunk.cos_theta
    _refuse(source, "cos_theta", cosine, np.abs(cosine) > 1.0 + _BEYOND_ONE, places, "-1 to 1")
    return chunk._replace(cos_theta=np.clip(cosine, -1.0, 1.0))


def _check_energies(chunk: Chunk, source: str, places: NDArray[np.intp]) -> None:
    energy, lepton = chunk.energy, chunk.lepton_energy
    _refuse(source, "E_nu_GeV", energy, energy <= 0.0, places, "above zero")
    middle = float(np.median(energy))
    if middle > MOST:
        allowed = "energies in GeV, half of them below 100; if these are in MeV, divide by 1000"
        raise InputError.at(source, "E_nu_GeV: median", f"{middle:g}", allowed)
    mass = lepton_mass(chunk.pdg_l)
    known = np.isfinite(chunk.lepton_momentum)
    squared = lepton**2 - np.where(known, chunk.lepton_momentum, 0.0) ** 2
    off = known & (np.abs(squared - mass**2) > _OWN_MASS * mass**2 + _ROUNDING * lepton**2)
    if off.any():
        found = np.sqrt(np.maximum(squared, 0.0))
        in_mev = np.abs(found / (1e3 * mass) - 1.0) < _OWN_MASS
        more = "; these momenta are in MeV" if in_mev[np.argmax(off)] else ""
        allowed = f"sqrt(E_l^2 - p_l^2) is the lepton's mass in GeV{more}"
        _refuse(source, "lepton mass", found, off, places, allowed)
    below = lepton < mass * (1.0 - _OWN_MASS)
    _refuse(source, "E_l_GeV", lepton, below, places, "not below the lepton's mass")
    above = lepton > energy + _ABOVE
    _refuse(source, "E_l_GeV", lepton, above, places, "not above the neutrino's energy")


def _refuse(
    source: str,
    name: str,
    values: Floats | NDArray[np.generic],
    bad: NDArray[np.bool_],
    places: NDArray[np.intp] | int,
    allowed: str,
) -> None:
    if not bad.any():
        return
    first = int(np.argmax(bad))
    place = places + first if isinstance(places, int) else places[first]
    value = values[first]
    text = f"{value:.6g}" if isinstance(value, np.floating) else str(value)
    more = f" (and {bad.sum() - 1} more)" if bad.sum() > 1 else ""
    raise InputError.at(source, f"event {place}: {name}", text, f"{allowed}{more}")
