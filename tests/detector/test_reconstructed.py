"""Counts in reconstructed energy against published figures and a sum without arrays."""

from __future__ import annotations

import csv
from dataclasses import replace
from math import sin
from pathlib import Path

import jax
import numpy as np
import pytest

from bayesxs.detector.reconstructed import ReconstructedSamples, reconstructed_samples
from bayesxs.errors import InputError
from bayesxs.inputs.flux import NEUTRINOS, make_flux
from bayesxs.inputs.globes.configuration import (
    Beam,
    Channel,
    Configuration,
    make_cross_sections,
)
from bayesxs.inputs.globes.dune import embedded_dune
from bayesxs.physics.oscillation import Baseline, OscillationParameters, probability

# NuFit 4.0, normal and inverted ordering, as README.md of the published configuration has them
NORMAL = OscillationParameters(
    *(sin(t) ** 2 for t in (0.5903, 0.150, 0.866)), 0.0, 7.39e-5, 2.451e-3 + 7.39e-5
)
INVERTED = NORMAL._replace(s2_23=sin(0.869) ** 2, s2_13=sin(0.151) ** 2, dm31=-2.512e-3 + 7.39e-5)


@pytest.fixture(scope="module")
def samples() -> ReconstructedSamples:
    return reconstructed_samples(embedded_dune())


def test_spectra_of_the_published_configuration(
    samples: ReconstructedSamples, reference: Path
) -> None:
    with (reference / "globes" / "reference_spectra_fhc_6.5yr.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    low = np.array([float(row["e_low"]) for row in rows])
    place = np.searchsorted(samples.edges, low)  # each is two bins wide
    counts = np.asarray(samples.counts(NORMAL))
    parts = np.asarray(samples.by_component(NORMAL))
    background = [
        c.sample == 0 and set(c.errors) <= {"nue_bg", "numu_bg"} for c in samples.components
    ]
    found = {
        "nue_app_total": counts[samples.names.index("nue_app")],
        "nue_app_beam_numu_nc": parts[background].sum(axis=0),
        "numu_dis_total": counts[samples.names.index("numu_dis")],
    }
    for name, spectrum in found.items():
        ours = spectrum[place] + spectrum[place + 1]
        recomputed = np.array([float(row[f"{name}_recomputed"]) for row in rows])
        many = recomputed > 10.0
        assert many.sum() > 15
        np.testing.assert_allclose(ours[many], recomputed[many], rtol=1e-3)
        # Read off the figures; the recomputed spectra lie up to 0.5 % above, see README.md there
        read = np.array([float(row[f"{name}_figure"] or "nan") for row in rows])
        several = read > 20.0
        assert abs(np.mean(ours[several] / read[several]) - 1.0) < 0.005


# Events of 0.5-8 GeV in 3.5 years of each mode, dCP = 0: README.md of the published configuration
EVENTS = {
    ("nue_app", "mu", "e", False): (1159.9, 528.4),
    ("nue_app", "mu", "e", True): (18.0, 32.3),
    ("nuebar_app", "mu", "e", False): (78.9, 37.9),
    ("nuebar_app", "mu", "e", True): (232.0, 488.0),
    ("numu_dis", "mu", "mu", False): (6520.1, None),
    ("numu_dis", "mu", "mu", True): (399.0, None),
    ("numubar_dis", "mu", "mu", True): (2352.8, None),
    ("numubar_dis", "mu", "mu", False): (1132.2, None),
}
BACKGROUND = {
    ("nue_app", "beam"): 198.3,
    ("nue_app", "nc"): 81.4,
    ("nue_app", "mu"): 13.9,
    ("nuebar_app", "beam"): 115.8,
    ("nuebar_app", "nc"): 47.2,
    ("nuebar_app", "mu"): 5.2,
    ("numu_dis", "nc"): 202.8,
    ("numubar_dis", "nc"): 116.6,
}


def test_events_of_the_published_configuration() -> None:
    samples = reconstructed_samples(embedded_dune(3.5))
    window = (samples.edges[:-1] >= 0.5) & (samples.edges[1:] <= 8.0)
    for place, params in enumerate((NORMAL, INVERTED)):
        found: dict[tuple[object, ...], float] = {}
        counts = np.asarray(samples.by_component(params))[:, window].sum(axis=1)
        for component, number in zip(samples.components, counts, strict=True):
            name = samples.names[component.sample]
            key: tuple[object, ...] = (name, *component.kind) if component.kind else (name, "nc")
            if component.flavor_in == "e":
                key = (name, "beam")
            elif "_app" in name and component.kind and component.flavor_out == "mu":
                key = (name, "mu")
            found[key] = found.get(key, 0.0) + number
        for key, numbers in EVENTS.items():
            if numbers[place] is not None:  # figures with one decimal
                assert found[key] == pytest.approx(numbers[place], rel=1e-3, abs=0.06), key
        if place == 0:
            for key, wanted in BACKGROUND.items():
                assert found[key] == pytest.approx(wanted, rel=1e-3, abs=0.06), key


def test_events_at_maximal_cp_violation() -> None:
    # README.md of the published configuration, whole events
    samples = reconstructed_samples(embedded_dune(3.5))
    window = (samples.edges[:-1] >= 0.5) & (samples.edges[1:] <= 8.0)
    signal = {
        (samples.names[c.sample], c.antineutrino): i
        for i, c in enumerate(samples.components)
        if (c.flavor_in, c.flavor_out) == ("mu", "e")
    }
    for dcp, neutrinos, antineutrinos in ((-np.pi / 2, 1401, 162), (np.pi / 2, 946, 279)):
        counts = np.asarray(samples.by_component(NORMAL._replace(dcp=dcp)))[:, window].sum(axis=1)
        assert counts[signal["nue_app", False]] == pytest.approx(neutrinos, abs=0.6)
        assert counts[signal["nuebar_app", True]] == pytest.approx(antineutrinos, abs=0.6)


def toy(**changes: object) -> Configuration:
    """Return two samples of three channels with tables of random numbers."""
    rng = np.random.default_rng(1)
    flux = make_flux(np.linspace(0.1, 6.0, 20), rng.random((20, 6)), "toy")
    table = make_cross_sections(np.linspace(-1.0, 1.0, 15), rng.random((15, 6)), "toy")
    ones = np.ones(5)

    def channel(name: str, sample: str, flavors: tuple[str, str], **more: object) -> Channel:
        held = {
            "antineutrino": False,
            "oscillates": True,
            "errors": ("a",),
            "pre": ones,
            "post": rng.random(4),
            **more,
        }
        return Channel(
            name=name,
            sample=sample,
            signal=True,
            beam="beam",
            flavor_in=flavors[0],
            flavor_out=flavors[1],
            cross_section="CC",
            matrix="smear",
            **held,
        )

    channels = (
        channel("one", "first", ("mu", "e"), pre=rng.random(5), weight=0.7),
        channel("two", "first", ("mu", "tau"), antineutrino=True, errors=("a", "b")),
        channel("three", "second", ("e", "mu"), oscillates=False),
    )
    held = {
        "source": "toy",
        "reconstructed": np.array([0.0, 1.0, 2.0, 3.0, 5.0]),
        "true": np.array([0.2, 1.0, 1.5, 3.0, 4.0, 6.0]),
        "length": 800.0,
        "density": 2.7,
        "mass": 12.0,
        "beams": {"beam": Beam(flux, 3.0, 2.0, 1.5)},
        "cross_sections": {"CC": table},
        "matrices": {"smear": rng.random((4, 5))},
        "channels": channels,
        "errors": {"a": 0.1, "b": 0.3},
        "windows": {"first": (1.0, 3.0), "second": (0.0, 5.0)},
    }
    return Configuration(**{**held, **changes})


def test_counts_are_the_sum_of_the_manual() -> None:
    configuration = toy()
    params = OscillationParameters(0.3, 0.02, 0.55, 1.0, 7.5e-5, 2.5e-3)
    pulls = np.array([0.5, -1.2])
    found = np.asarray(reconstructed_samples(configuration).counts(params, 3.0, pulls))
    wanted = np.zeros((2, 4))
    ids = {"e": 12, "mu": 14, "tau": 16}
    for channel in configuration.channels:
        sign = -1 if channel.antineutrino else 1
        beam = configuration.beams[channel.beam]
        table = configuration.cross_sections[channel.cross_section]
        scale = 1.0
        for name in channel.errors:
            scale += configuration.errors[name] * pulls[list(configuration.errors).index(name)]
        for i in range(4):
            for j in range(5):
                low, high = configuration.true[j : j + 2]
                energy = 0.5 * (low + high)
                p = 1.0
                if channel.oscillates:
                    p = float(
                        probability(
                            channel.flavor_in,
                            channel.flavor_out,
                            params,
                            energy,
                            Baseline(800.0, 3.0),
                            antineutrino=channel.antineutrino,
                        )
                    )
                n = channel.post[i] * configuration.matrices["smear"][i, j] * channel.pre[j]
                n *= float(beam.flux(sign * ids[channel.flavor_in], energy)) * (high - low)
                n *= float(table(sign * ids[channel.flavor_out], energy)) * p
                n *= beam.norm * beam.power * beam.years * 12.0 / 800.0**2
                wanted[int(channel.sample == "second"), i] += channel.weight * scale * n
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


def test_a_sample_needs_a_component_unless_its_beam_does_not_run() -> None:
    whole = toy()
    one, two, three = whole.channels
    blind = replace(three, pre=np.zeros(5))
    with pytest.raises(
        InputError, match=r"^toy: sample second = no component: a channel with flux"
    ):
        reconstructed_samples(replace(whole, channels=(one, two, blind)))
    idle = replace(whole.beams["beam"], years=0.0)
    beams, off = {**whole.beams, "idle": idle}, replace(three, beam="idle")
    found = reconstructed_samples(replace(whole, beams=beams, channels=(one, two, off)))
    params = OscillationParameters(0.3, 0.02, 0.55, 1.0, 7.5e-5, 2.5e-3)
    assert found.names == ("first",)
    wanted = reconstructed_samples(whole).counts(params)[:1]
    np.testing.assert_allclose(found.counts(params), wanted, rtol=1e-12)


def test_a_channel_needs_a_flux() -> None:
    whole = toy()
    beam = whole.beams["beam"]
    values = np.array(beam.flux.values)
    values[:, NEUTRINOS.index(12)] = 0.0  # of channel three
    dark = replace(beam, flux=replace(beam.flux, values=values))
    with pytest.raises(InputError, match=r"^toy: channel three: flux of nu_e = 0"):
        reconstructed_samples(replace(whole, beams={"beam": dark}))


def test_what_no_counts_come_from_is_refused() -> None:
    apart = toy(windows={"first": (0.0, 2.0), "second": (90.0, 95.0)})
    with pytest.raises(InputError, match=r"^toy: window of second = 90 to 95 GeV: the center of"):
        reconstructed_samples(apart)
    for wrong in (lambda e: np.ones(len(e)), lambda e: np.full((2, len(e)), np.nan)):
        with pytest.raises(InputError, match=r"^toy: flux_modes = shape .*: finite, one row"):
            reconstructed_samples(toy(), flux_modes=wrong)
    for error in (-0.1, np.nan, 1.0):
        with pytest.raises(InputError, match=r"^toy: scale_error = "):
            reconstructed_samples(toy(), scale_error=error)


def test_windows_choose_bins_by_their_centers() -> None:
    samples = reconstructed_samples(toy())
    np.testing.assert_array_equal(
        samples.inside, [[False, True, True, False], [True, True, True, True]]
    )
    counts = np.asarray(samples.counts(NORMAL))
    np.testing.assert_allclose(samples.expected(NORMAL), counts[samples.inside])


def test_channels_with_one_fate_are_added(samples: ReconstructedSamples) -> None:
    channels = [name for component in samples.components for name in component.channels]
    assert len(set(channels)) == len(channels)
    # The eight tau channels expect nothing: their cross sections are zero in the release
    assert len(channels) == 24
    neutral = [c for c in samples.components if not c.oscillates]
    assert [len(c.channels) for c in neutral] == [2, 2, 2, 2]


def test_another_cross_section_takes_the_place_of_the_table(samples: ReconstructedSamples) -> None:
    configuration = embedded_dune()
    table = configuration.cross_sections["CC"]
    doubled = reconstructed_samples(configuration, {"CC": lambda pdg, e: 2.0 * table(pdg, e)})
    for before, after in zip(samples.components, doubled.components, strict=True):
        factor = 2.0 if before.oscillates else 1.0
        np.testing.assert_allclose(after.events, factor * before.events)
    with pytest.raises(InputError, match="cross section = QE: one of CC, NC"):
        reconstructed_samples(configuration, {"QE": table})
    with pytest.raises(InputError, match="sample nue_app = no component: a channel with flux"):
        nothing = {name: lambda pdg, e: 0.0 * e for name in ("CC", "NC")}
        reconstructed_samples(configuration, nothing)
    with pytest.raises(InputError, match="no channel expects any events: no beam runs"):
        reconstructed_samples(embedded_dune(0.0, 0.0))
    for wrong in (-1.0, np.nan, np.inf):
        with pytest.raises(InputError, match=r"cross section CC of .*: 0 or above and finite"):
            reconstructed_samples(configuration, {"CC": lambda pdg, e, w=wrong: w * e})
    with pytest.raises(InputError, match=r"CC of 12 = shape \(3,\): .* shape \(99,\)"):
        reconstructed_samples(configuration, {"CC": lambda pdg, e: np.ones(3)})


def test_gradients_are_those_of_differences(samples: ReconstructedSamples) -> None:
    def total(dm31: float) -> jax.Array:
        return samples.expected(NORMAL._replace(dm31=dm31), 2.848, np.zeros(9))

    slope = jax.jacfwd(total)(2.5e-3)
    step = 1e-8
    wanted = (total(2.5e-3 + step) - total(2.5e-3 - step)) / (2.0 * step)
    np.testing.assert_allclose(slope, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"matrices": {"smear": np.ones((4, 4))}}, "shape = .4, 4.: 4 reconstructed bins by 5"),
        ({"matrices": {"smear": np.full((4, 5), 1.5)}}, "row 0, true bin 0 = 1.5: a part"),
        ({"matrices": {}}, "channel one: energy = smear: one of .none."),
        ({"beams": {}}, "channel one: flux = beam"),
        ({"errors": {"a": 0.1}}, "channel two: error = b: one of a"),
        ({"errors": {"a": 0.1, "b": np.nan}}, "error b = nan: from 0 to 10"),
        ({"windows": {"first": (0.0, 1.0)}}, "channel three: window = second"),
        ({"true": np.array([0.0, 2.0, 1.0, 3.0, 4.0, 5.0])}, "true bins = 0, 2, ..., 5"),
        ({"length": 0.0}, "length = 0.0: above 0"),
        ({"channels": ()}, "channels = 0: from 1 to"),
    ],
)
def test_tables_that_do_not_belong_together(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        toy(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"post": np.ones(3)}, "post_smearing_efficiencies = 3: 4, one for each bin"),
        ({"post": np.array([0.0, 1.0, 1.1, 1.0])}, "bin 2 = 1.1: an efficiency, from 0 to 1"),
        ({"pre": np.array([0.0, -0.1, 1.0, 1.0, 1.0])}, "pre_smearing_efficiencies, bin 1 = -0.1"),
        ({"weight": -1.0}, "weight = -1.0"),
    ],
)
def test_channels_that_cannot_be(changes: dict[str, object], message: str) -> None:
    configuration = toy()
    with pytest.raises(InputError, match=message):
        toy(channels=(replace(configuration.channels[0], **changes),))
