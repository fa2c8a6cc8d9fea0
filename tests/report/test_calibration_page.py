"""The page of a campaign says in words what the ranks say, and escapes everything."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bayesxs.inference.calibration import uniformity
from bayesxs.report.calibration import (
    FIGURES,
    HEADINGS,
    SHAPES,
    campaign_tables,
    render_campaign,
    shape_words,
    verdict,
)
from support.pages import Page, png

HOSTILE = '<script>alert("x")</script>'
EVEN = (np.arange(1000) + 0.5) / 1000


def make_entry(inside=True, shape="uniform", pull=0.5):
    covered = {}
    for level in (0.5, 0.68, 0.9, 0.95):
        error = float(np.sqrt(level * (1.0 - level) / 1000))
        covered[f"{level}"] = [level + pull * error, error]
    return {"inside": inside, "worst": 0.61, "p_value": 0.42, "coverage": covered, "shape": shape}


@pytest.fixture
def campaign():
    """Summary of a campaign of which nothing is to be said."""
    names = ("energy_scale", "dm31", "sin2_theta23")
    return {
        "kind": "sbc",
        "experiments": 1000,
        "failed": {},
        "missing": [],
        "draws": 500,
        "thin": 2,
        "divergences": 3,
        "seconds": 301.24,
        "parameters": {name: make_entry() for name in names},
        "verdict": verdict({name: uniformity(EVEN) for name in names}),
    }


def test_verdict_of_uniform_ranks():
    assert verdict({"dm31": uniformity(EVEN)}) == (
        "Ranks of Δm²₃₁ lie inside the 95 % simultaneous band: no sign of miscalibration in 1000 "
        "pseudo-experiments."
    )
    many = {f"flux_{i}": uniformity(EVEN[::2], 0.9) for i in range(12)}
    assert verdict(many).startswith("Ranks of 12 parameters lie inside the 90 % simultaneous band")
    assert "500 pseudo-experiments" in verdict(many)


@pytest.mark.parametrize(
    ("pits", "shape"),
    [
        (stats.norm.cdf(stats.norm.ppf(EVEN) / 0.7), "too narrow"),
        (stats.norm.cdf(stats.norm.ppf(EVEN) / 1.4), "too wide"),
        (stats.norm.cdf(stats.norm.ppf(EVEN) - 0.3), "shifted up"),
        (stats.norm.cdf(stats.norm.ppf(EVEN) + 0.3), "shifted down"),
    ],
)
def test_verdict_names_what_is_wrong_with_whom(pits, shape):
    words = verdict({"dm31": uniformity(pits), "sin2_theta23": uniformity(EVEN)})
    assert words.startswith("Ranks of Δm²₃₁ leave the 95 % simultaneous band in 1000")
    assert f"Posteriors of Δm²₃₁ are {SHAPES[shape]}." in words
    assert "Ranks of sin²θ₂₃ stay inside." in words
    assert "0.1 of 2 parameters" in words
    place = {
        "too narrow": "0.00 ± 1.43",
        "too wide": "0.00 ± 0.71",
        "shifted up": "−0.30 ± 1.00",
        "shifted down": "+0.30 ± 1.00",
    }[shape]
    assert f"the true values lie at {place} of Δm²₃₁, where 0 ± 1 is right." in words


def test_verdict_of_an_uneven_shape_and_of_two_at_once():
    # Ranks moved to and fro between the 16 %, 50 % and 84 % quantiles, which stay where they are
    wave = 0.08 * np.sin(2.0 * np.pi * (EVEN - 0.5) / (stats.norm.cdf(1.0) - 0.5))
    result = uniformity(np.clip(EVEN + wave, 0.0, 1.0))
    assert not result.inside and result.shape == "uneven"
    assert "neither a shift nor a wrong width" in verdict({"dm31": result})
    both = shape_words("too narrow and shifted up")
    assert both == f"{SHAPES['too narrow']}, and {SHAPES['shifted up']}"
    assert verdict({}) == "No parameter has ranks to judge."


def test_page_of_a_good_campaign(campaign, manifest):
    page = Page(render_campaign(campaign, manifest, "seed = 0\n", {}, name="sbc.toml"))
    assert campaign["verdict"] in page.words
    assert "Calibrated." in page.words and "Look at this campaign" not in page.words
    assert HEADINGS["sbc"] in page.words
    for expected in (
        "sbc.toml",
        "seed = 0",
        "energy scale",
        "Δm²₃₁",
        "301.2",
        "divergent transitions",
        "jax 0.12.0",
    ):
        assert expected in page.words
    assert "50.8 ± 1.6" in page.words  # half an error of 1.58 % above one half
    assert page.tags.count("script") == 0


def test_rows_stand_in_the_order_of_the_reports(campaign):
    found = campaign_tables(campaign)
    (table,) = found.tables
    assert [row.head for row in table.rows] == ["Δm²₃₁", "sin²θ₂₃", "energy scale"]
    assert table.columns[4:8] == tuple(f"{level} % coverage" for level in (50, 68, 90, 95))
    assert table.rows[0].cells[:3] == ("inside", "0.61", "0.42")
    assert table.rows[0].cells[-1] == "uniform"
    assert found.good and not found.reasons


def test_what_is_to_be_looked_at_is_called_out(campaign, manifest):
    campaign["parameters"]["dm31"] = make_entry(pull=-6.0)
    campaign["parameters"]["sin2_theta23"] = make_entry(False, "too wide")
    campaign["failed"] = {"0017": "InputError: no start", "0021": "again"}
    campaign["missing"] = [f"{i:04d}" for i in range(100, 130)]
    tables = campaign_tables(campaign)
    assert not tables.good
    assert len(tables.reasons) == 6
    assert "Δm²₃₁: 50 % intervals cover 40.5 %, 6.0 binomial σ below" in tables.reasons
    assert "2 batches failed: named below" in tables.reasons
    assert tables.missing.endswith("0119 and 10 more")
    page = Page(render_campaign(campaign, manifest, "", {}))
    assert "Look at this campaign." in page.words and "Calibrated." not in page.words
    for expected in ("0017", "InputError: no start", "0100", "outside"):
        assert expected in page.words


def test_ranks_outside_alone_are_not_good(campaign):
    campaign["parameters"]["dm31"] = make_entry(False, "too narrow")
    assert not campaign_tables(campaign).good


def test_coverage_is_called_out_in_one_of_a_hundred_calibrated_campaigns():
    # 12 coverages, each off by a Gaussian: 2000 campaigns, 1 % with a standard error of 0.22 %
    rng = np.random.default_rng(1)
    called = 0
    for pulls in rng.standard_normal((2000, 12)):
        covered = [[0.5 + 0.01 * pull, 0.01] for pull in pulls]
        entries = {f"p{i}": {"coverage": {"0.5": pair}} for i, pair in enumerate(covered)}
        called += bool(campaign_tables({"parameters": entries}).reasons)
    assert called / 2000 == pytest.approx(0.01, abs=0.0075)


def test_figures_stand_in_order_with_their_words(campaign, manifest):
    stems = ("my_own", "sensitivity", "coverage_dm31", "rank_histogram", "campaign_ecdf")
    images = {stem: png() + stem.encode() for stem in stems}
    page = Page(render_campaign(campaign, manifest, "", images))
    found = [v for tag, key, v in page.attributes if (tag, key) == ("figure", "id")]
    assert found == ["campaign_ecdf", "rank_histogram", "coverage_dm31", "sensitivity", "my_own"]
    titles = [v for tag, key, v in page.attributes if (tag, key) == ("img", "alt")]
    assert titles[0] == FIGURES["ecdf"].title
    assert titles[2] == f"{FIGURES['coverage'].title}: Δm²₃₁"
    assert titles[4] == "my own"
    sources = {v for _, key, v in page.attributes if key in {"src", "href"}}
    assert len(sources) == 5 and all(s.startswith("data:image/png;base64,") for s in sources)


def test_hostile_names_are_text(campaign, manifest):
    campaign["kind"] = HOSTILE
    campaign["verdict"] = HOSTILE
    campaign["failed"] = {HOSTILE: HOSTILE}
    campaign["missing"] = [HOSTILE]
    campaign["parameters"] = {HOSTILE: make_entry(False, HOSTILE) | {"label": HOSTILE}}
    manifest["device"] = HOSTILE
    page = render_campaign(campaign, manifest, HOSTILE, {HOSTILE: png()}, name=HOSTILE)
    assert "<script" not in page
    assert Page(page).words.count(HOSTILE) >= 8


@settings(max_examples=25, deadline=None)
@given(name=st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=40))
def test_any_name_comes_back_as_it_was(name):
    page = Page(render_campaign({"failed": {name: name}}, {}, name, {}, name=name))
    assert page.words.count(name) >= 4
    assert "script" not in page.tags


@pytest.mark.parametrize("kind", [*HEADINGS, "something_new"])
def test_campaigns_without_ranks_have_a_page(kind, manifest):
    page = Page(render_campaign({"kind": kind}, manifest, "", {}))
    assert HEADINGS.get(kind, "Calibration campaign") in page.words
    assert "χ²" not in page.words
