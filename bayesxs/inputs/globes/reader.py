"""GLoBES folders of anybody: an AEDL file, and what it names, to a `Configuration`.

Understood is what counting with tabulated responses needs: fluxes and cross sections from files,
migration matrices, efficiencies before and after smearing, one layer of constant density, and rules
whose systematics are normalisations (chiMultiExp) or none (chiNoSysSpectrum). All else is refused
by its name rather than left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from bayesxs.errors import InputError
from bayesxs.inputs.flux import load_globes_flux
from bayesxs.inputs.globes.aedl import Aedl, Environment
from bayesxs.inputs.globes.configuration import (
    MAX_BINS,
    Beam,
    Channel,
    Configuration,
    CrossSections,
    Flavor,
)
from bayesxs.inputs.globes.tables import efficiency_of, matrix_of, read_cross_sections
from bayesxs.inputs.globes.values import Value
from bayesxs.types import Floats as Float

_FLAVORS: Final[dict[str, Flavor]] = {"e": "e", "m": "mu", "t": "tau"}
_UNOSCILLATED: Final = "NOSC_"
_FUNCTIONS: Final = ("chiMultiExp", "chiNoSysSpectrum")

# What environments may hold; the second are read by GLoBES only
_ENTRIES: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "flux": (("@flux_file", "@norm", "@power", "@time"), ()),
    "cross": (("@cross_file",), ()),
    "energy": (("@energy",), ()),
    "channel": (
        ("@channel", "@pre_smearing_efficiencies", "@post_smearing_efficiencies"),
        (),
    ),
    "rule": (
        *(("@signal", "@background", "@energy_window", "@sys_on_function"),),
        *(("@errordim_sys_on", "@errordim_sys_off", "@sys_off_function"),),
    ),
    "sys": (("@error",), ()),
}
_MULTIPLE: Final = {
    "@signal": "@sys_on_multiex_errors_sig",
    "@background": "@sys_on_multiex_errors_bg",
}
_KINDS: Final = {"nuflux": "flux"}
_VARIABLES: Final = (
    *("$version", "$citation", "$profiletype", "$densitytab", "$lengthtab", "$target_mass"),
    *("$emin", "$emax", "$binsize", "$bins", "$sampling_min", "$sampling_max"),
    *("$sampling_stepsize", "$sampling_points", "$filter_state", "$filter_value"),
)


def read_globes(path: str | Path) -> Configuration:
    """Read a GLoBES experiment: the AEDL file, and the files of its folder that it names.

    Args:
        path: of the AEDL file.

    Raises:
        InputError: naming file, line and key of what is wrong, or of what is not understood.
    """
    aedl = Aedl.read(path)
    _check_names(aedl)
    reconstructed = _edges(aedl, "$emin", "$emax", "$binsize", "$bins", None)
    sampling = ("$sampling_min", "$sampling_max", "$sampling_stepsize", "$sampling_points")
    true = _edges(aedl, *sampling, reconstructed)
    length, density = _layer(aedl)
    sizes = len(reconstructed) - 1, len(true) - 1
    channels = {e.name: e for e in aedl.of_kind("channel")}
    errors = {e.name: _entry(e, "@error").number() for e in aedl.of_kind("sys")}
    return Configuration(
        source=str(path),
        reconstructed=reconstructed,
        true=true,
        length=length,
        density=density,
        mass=_variable(aedl, "$target_mass").number(),
        beams={e.name: _beam(aedl, e) for e in aedl.of_kind("flux", "nuflux")},
        cross_sections={e.name: _cross_sections(aedl, e) for e in aedl.of_kind("cross")},
        matrices={e.name: matrix_of(_entry(e, "@energy"), *sizes) for e in aedl.of_kind("energy")},
        channels=tuple(
            channel for rule in aedl.of_kind("rule") for channel in _sample(rule, channels, sizes)
        ),
        errors=errors,
        windows={
            e.name: _window(e, (reconstructed[0], reconstructed[-1])) for e in aedl.of_kind("rule")
        },
    )


def _check_names(aedl: Aedl) -> None:
    """Refuse what would change the counts and is not read."""
    for name, value in aedl.variables.items():
        if name not in _VARIABLES:
            raise InputError.at(
                value.key.place, "variable", name, f"one of {', '.join(_VARIABLES)}"
            )
    state = aedl.variables.get("$filter_state")
    if state is not None and state.number() != 0.0:
        raise state.refuse("0: the low-pass filter of oscillations is not understood")
    for (kind, name), environment in aedl.environments.items():
        plain = _KINDS.get(kind, kind)
        if plain not in _ENTRIES:
            allowed = f"one of {', '.join((*_ENTRIES, *_KINDS))}"
            raise InputError.at(environment.place, "word", kind, allowed)
        read, passed = _ENTRIES[plain]
        known = (*read, *(_MULTIPLE.values() if plain == "rule" else ()))
        for key, value in environment.entries.items():
            if key not in (*known, *passed):
                allowed = f"one of {', '.join(known)}"
                raise InputError.at(value.key.place, f"{kind} {name}", key, allowed)


def _variable(aedl: Aedl, name: str) -> Value:
    if name not in aedl.variables:
        raise InputError(f"{aedl.path}: {name} is missing")
    return aedl.variables[name]


def _entry(environment: Environment, key: str) -> Value:
    if key not in environment.entries:
        where = f"{environment.kind} {environment.name}"
        raise InputError(f"{environment.place}: {where}: {key} is missing")
    return environment.entries[key]


def _edges(
    aedl: Aedl, low: str, high: str, widths: str, number: str, otherwise: Float | None
) -> Float:
    """Return edges of bins from their widths, or from their number."""
    if otherwise is not None and not {low, high, widths, number} & set(aedl.variables):
        return otherwise
    start, end = _variable(aedl, low).number(), _variable(aedl, high).number()
    if widths in aedl.variables:
        value = aedl.variables[widths]
        steps = value.numbers()
        edges = start + np.cumsum([0.0, *steps])
        if len(steps) > MAX_BINS or np.any(steps <= 0.0):
            raise InputError.at(value.key.place, widths, len(steps), f"1 to {MAX_BINS} widths > 0")
        if not np.isclose(edges[-1], end, rtol=1e-6, atol=1e-9):
            allowed = f"widths that add up to {high} - {low} = {end - start:g}"
            raise InputError.at(value.key.place, widths, f"{edges[-1] - start:g}", allowed)
        return edges
    value = _variable(aedl, number)
    count = value.number()
    if not (count == int(count) and 1 <= count <= MAX_BINS and end > start):
        raise value.refuse(f"a whole number from 1 to {MAX_BINS}, and {high} above {low}")
    return np.linspace(start, end, int(count) + 1)


def _layer(aedl: Aedl) -> tuple[float, float]:
    """Return length in km and density in g/cm^3 of the one layer of matter."""
    profile = aedl.variables.get("$profiletype")
    if profile is None or profile.number() != 3.0:
        shown = "(none)" if profile is None else f"{profile.number():g}"
        allowed = "3, with $lengthtab and $densitytab of one layer"
        raise InputError.at(aedl.path, "$profiletype", shown, allowed)
    found = []
    for name in ("$lengthtab", "$densitytab"):
        value = _variable(aedl, name)
        numbers = value.numbers()
        if len(numbers) != 1:
            raise InputError.at(value.key.place, name, f"{len(numbers)} layers", "one layer")
        found.append(float(numbers[0]))
    return found[0], found[1]


def _beam(aedl: Aedl, environment: Environment) -> Beam:
    file = _entry(environment, "@flux_file")
    path = aedl.inside(file.text(), file.key.place, "@flux_file")
    norm, power, years = (
        environment.entries[key].number() if key in environment.entries else 1.0
        for key in ("@norm", "@power", "@time")
    )
    return Beam(load_globes_flux(path), norm, power, years)


def _cross_sections(aedl: Aedl, environment: Environment) -> CrossSections:
    file = _entry(environment, "@cross_file")
    return read_cross_sections(aedl.inside(file.text(), file.key.place, "@cross_file"))


def _sample(
    rule: Environment, channels: Mapping[str, Environment], sizes: tuple[int, int]
) -> Iterator[Channel]:
    """Yield the channels that a rule adds."""
    errors = _errors(rule)
    for key, names in errors.items():
        terms = rule.entries[key].parts()
        if names and len(names) != len(terms):
            value = rule.entries[_MULTIPLE[key]]
            allowed = f"{len(terms)} lists, one for each channel of {key}"
            raise InputError.at(value.key.place, value.key.text, f"{len(names)} lists", allowed)
        for i, term in enumerate(terms):
            weight, name = _term(term)
            if name not in channels:
                allowed = f"one of {', '.join(channels) or '(none)'}"
                raise InputError.at(term.key.place, f"rule {rule.name}: {key}", name, allowed)
            held = names[i] if names else ()
            yield _channel(rule.name, key == "@signal", weight, held, channels[name], sizes)


def _errors(rule: Environment) -> dict[str, list[tuple[str, ...]]]:
    """Return the normalisations of each channel of signal and background; empty where none is."""
    _entry(rule, "@signal")
    value = rule.entries.get("@sys_on_function")
    function = "chiNoSysSpectrum" if value is None else value.text()
    if function not in _FUNCTIONS:
        raise InputError.at(
            rule.place, "@sys_on_function", function, f"one of {', '.join(_FUNCTIONS)}"
        )
    found: dict[str, list[tuple[str, ...]]] = {}
    for key, multiple in _MULTIPLE.items():
        if key not in rule.entries:
            continue
        found[key] = []
        if function == "chiMultiExp":
            lists = _entry(rule, multiple).parts()
            found[key] = [tuple(v.name() for v in part.braced()) for part in lists]
    return found


def _term(value: Value) -> tuple[float, str]:
    """Return factor and name of 0.9@#channel, or of #channel."""
    parts = value.parts("@")
    if len(parts) == 1:
        return 1.0, parts[0].name()
    if len(parts) != 2:
        raise value.refuse("factor@#channel")
    return parts[0].number(), parts[1].name()


def _channel(
    sample: str,
    signal: bool,
    weight: float,
    errors: tuple[str, ...],
    environment: Environment,
    sizes: tuple[int, int],
) -> Channel:
    value = _entry(environment, "@channel")
    parts = value.parts()
    if len(parts) != 6:
        raise value.refuse("#flux : + or - : flavor : flavor : #cross : #energy")
    flux, sign, source, target, cross, energy = parts
    if sign.word() not in ("+", "-"):
        raise sign.refuse("+ for neutrinos, - for antineutrinos")
    names = [source.word(), target.word()]
    plain = [name.removeprefix(_UNOSCILLATED) for name in names]
    for part, name in zip((source, target), plain, strict=True):
        if name not in _FLAVORS:
            raise part.refuse("e, m or t, or with NOSC_ before it")
    oscillates = names == plain
    if not oscillates and plain[0] != plain[1]:
        raise target.refuse(f"{_UNOSCILLATED}{plain[0]}: without oscillation flavors stay")

    def efficiency(key: str, bins: int) -> Float:
        held = environment.entries.get(key)
        return np.ones(bins) if held is None else efficiency_of(held, bins)

    return Channel(
        name=environment.name,
        sample=sample,
        signal=signal,
        beam=flux.name(),
        antineutrino=sign.word() == "-",
        flavor_in=_FLAVORS[plain[0]],
        flavor_out=_FLAVORS[plain[1]],
        oscillates=oscillates,
        cross_section=cross.name(),
        matrix=energy.name(),
        post=efficiency("@post_smearing_efficiencies", sizes[0]),
        pre=efficiency("@pre_smearing_efficiencies", sizes[1]),
        weight=weight,
        errors=errors,
    )


def _window(rule: Environment, otherwise: tuple[float, float]) -> tuple[float, float]:
    if "@energy_window" not in rule.entries:
        return otherwise
    value = rule.entries["@energy_window"]
    ends = [part.number() for part in value.parts()]
    if len(ends) != 2 or ends[0] >= ends[1]:
        raise value.refuse("low : high, in GeV")
    return ends[0], ends[1]
