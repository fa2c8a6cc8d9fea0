"""Cards of counted samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import bayesxs
from bayesxs.cards.build_counted import build_samples, build_truth
from bayesxs.cards.card import load_card
from bayesxs.cards.counted import counted_toml, is_counted, load_counted_card
from bayesxs.cards.overrides import parse_overrides
from bayesxs.errors import InputError

DUNE = {"configuration": {"type": "dune"}}


def test_cards_are_told_apart(tmp_path: Path) -> None:
    assert is_counted("dune-four-samples") and is_counted(DUNE)
    assert not is_counted("dune-toy") and not is_counted({"seed": 3})
    card = load_counted_card("dune-four-samples")
    path = tmp_path / "card.toml"
    path.write_text(counted_toml(card))
    assert load_counted_card(path) == card == load_counted_card(card)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ("scan.dcp_values=1", r"^overrides: scan.dcp_values = 1: must be greater"),
        ("configuration.neutrino_year=2", "unknown key; did you mean"),
        ("truth.dm31=-2.5e-3", 'truth.dm31 = -0.0025: must be above 0 with ordering = "normal"'),
        ("constraints=all", 'constraints = "all": must be "published", "reactor", "solar"'),
        ('configuration={type="globes"}', "configuration.path = .missing.: needed"),
        ("ranges.dm31=[-2.8e-3,2.8e-3]", "between 0 and 1: the size in either ordering"),
        ("likelihood=both", 'likelihood = "both": must be "extended" or "shape"'),
        ("energy_scale=-0.1", "energy_scale = -0.1: must be greater than or equal to 0"),
        ('campaign={kind="sbc",thin=50}', "campaign.thin = 50: must leave at least 20 of 400"),
        ('campaign={kind="bootstrap"}', 'must be "sbc", "coverage" or "cp_statistic"|one of "sbc"'),
        ("scan.s2_23_low=0.7", "must be below s2_23_high = 0.6"),
        ('flux_shape={type="parametric",near_far=0.5}', "near_far = 0.5: must be 0"),
        (
            'configuration={type="dune",neutrino_years=0,antineutrino_years=0}',
            "neutrino_years = 0.*no exposure",
        ),
    ],
)
def test_mistakes_are_one_line(changes: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_counted_card(DUNE, parse_overrides([changes]))
    assert "\n" not in str(caught.value)


def test_a_card_without_a_configuration_is_refused() -> None:
    with pytest.raises(InputError, match=r"card: configuration = \(missing\)"):
        load_counted_card({"seed": 1})


@pytest.mark.parametrize("card", ["dune-four-samples", DUNE, load_counted_card(DUNE)])
def test_a_run_of_a_learned_cross_section_names_what_takes_samples(card: object) -> None:
    for take in (load_card, bayesxs.run):
        with pytest.raises(InputError, match=r"configuration: a card of samples.*bayesxs\.infer"):
            take(card)


def test_a_mode_without_years_has_no_samples() -> None:
    card = load_counted_card(DUNE, {"configuration": {"type": "dune", "neutrino_years": 0.0}})
    assert build_samples(card).names == ("nuebar_app", "numubar_dis")


def test_exposure_multiplies_counts() -> None:
    one, two = (
        build_samples(load_counted_card(DUNE, {"configuration": {"type": "dune", **more}}))
        for more in ({}, {"power_MW": 2.4, "mass_kt": 20.0, "neutrino_years": 13.0})
    )
    params, _ = build_truth(load_counted_card(DUNE), one)
    ratio = np.asarray(two.counts(params)).sum(axis=1) / np.asarray(one.counts(params)).sum(axis=1)
    modes = {name: r for name, r in zip(one.names, ratio, strict=True)}
    assert modes["nue_app"] == pytest.approx(2.0) and modes["numu_dis"] == pytest.approx(2.0)
    assert modes["nuebar_app"] == pytest.approx(1.0)


def test_the_card_of_nuisances_has_sixty() -> None:
    samples = build_samples(load_counted_card("dune-four-nuisances"))
    groups = len(samples.errors), len(samples.shapes), len(samples.scales)
    assert groups == (9, 48, 6) and sum(groups) == samples.rates().nuisances


def test_each_flux_has_modes_of_its_own() -> None:
    shape = {"flux_shape": {"type": "parametric", "amplitude": 0.1, "share": 0.98}}
    card = load_counted_card({**DUNE, **shape})
    samples = build_samples(card)
    plain = build_samples(load_counted_card(DUNE))
    params, _ = build_truth(card, samples)
    names = samples.nuisances
    assert names[:9] == plain.nuisances and "flux_FHC_nu_mu_0" in names
    np.testing.assert_allclose(samples.counts(params), plain.counts(params), rtol=1e-12)
    pulls = np.zeros(len(names))
    pulls[names.index("flux_RHC_anti_nu_mu_0")] = 1.0
    before = np.asarray(plain.counts(params))
    used = before > 1.0
    moved = np.asarray(samples.counts(params, None, pulls)) / np.where(used, before, 1.0)
    by_name = dict(zip(samples.names, range(4), strict=True))
    for name in ("nue_app", "numu_dis"):
        np.testing.assert_allclose(moved[by_name[name]][used[by_name[name]]], 1.0)
    assert abs(moved[by_name["numubar_dis"]][used[by_name["numubar_dis"]]] - 1.0).max() > 0.01


def test_a_globes_file_that_is_missing_is_named(tmp_path: Path) -> None:
    card = load_counted_card({"configuration": {"type": "globes", "path": tmp_path / "no.glb"}})
    with pytest.raises(InputError, match=r"no\.glb"):
        build_samples(card)
