"""The report is one page that fetches nothing, escapes everything, and says how the run went."""

import base64
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesxs.report.captions import FIGURES, SYSTEMATICS
from bayesxs.report.html import (
    ESS_LIMIT,
    R_HAT_LIMIT,
    headlines,
    render_budget,
    render_report,
    sentences,
    verdict,
)
from bayesxs.report.style import QUANTITIES
from support.pages import Page, png

CARD = 'seed = 0\n[far]\nfile = "<b>events.csv</b> & more"\n'
HOSTILE = '<script>alert("x")</script>'


@pytest.fixture
def page(summary, manifest, true_values) -> str:
    figures = {stem: png() + stem.encode() for stem in FIGURES} | {"my_own": png()}
    return render_report(summary, manifest, CARD, figures, name=HOSTILE, true_values=true_values)


def test_page_opens_with_the_result_in_words(page, summary, true_values):
    words = sentences(summary, true_values)
    text = Page(page).words
    assert all(sentence in text for sentence in words)
    assert text.index(words[0]) < text.index("Figure 1")
    first, second, octant = words
    assert "(2.514 ± 0.018) × 10⁻³ eV² with the learned cross section" in first
    assert "with the true cross section" in first
    assert "0.04 σ" in first
    assert "0.9957 ± 0.0031" in second
    assert "43 %" in octant


def test_page_fetches_nothing(page):
    parsed = Page(page)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(parsed.tags)
    targets = {v for _, key, v in parsed.attributes if key in {"src", "href", "srcset", "action"}}
    assert all(target.startswith("data:image/png;base64,") for target in targets)
    assert not re.search(r"url\(|@import", page)
    policy = [v for _, key, v in parsed.attributes if key == "content" and "default-src" in v]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_every_figure_is_embedded_once_with_title_and_text(page):
    parsed = Page(page)
    sources = [v for tag, key, v in parsed.attributes if (tag, key) == ("img", "src")]
    images = {base64.b64decode(s.partition(",")[2]) for s in sources}
    assert images == {png() + stem.encode() for stem in FIGURES} | {png()}
    alternatives = [v for tag, key, v in parsed.attributes if (tag, key) == ("img", "alt")]
    assert alternatives == [c.title for c in FIGURES.values()] + ["my own"]
    for words in FIGURES.values():
        assert words.text in parsed.text
    numbers = [int(n) for n in re.findall(r"Figure (\d+)\.", parsed.text)]
    assert numbers == list(range(1, len(FIGURES) + 2))


def test_hostile_names_and_cards_are_text(page):
    assert "<script" not in page
    assert "<b>events.csv" not in page
    text = Page(page).text
    assert HOSTILE in text
    assert CARD.strip() in text


@settings(max_examples=25, deadline=None)
@given(name=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40))
def test_any_name_comes_back_as_it_was(name):
    parsed = Page(render_report({}, {}, name, {}, name=name))
    assert parsed.text.count(name) >= 2
    assert "script" not in parsed.tags


def test_manifest_is_escaped_too(summary, manifest):
    manifest["device"] = {"kind": HOSTILE}
    manifest["stages"][HOSTILE] = {"key": HOSTILE, "seconds": 1.0, "outputs": {}}
    page = render_report(summary, manifest, "", {HOSTILE: png()})
    assert "<script" not in page


def test_every_parameter_is_named_with_its_unit(summary_of_all, manifest):
    text = Page(render_report(summary_of_all, manifest, "", {})).text
    for shown in QUANTITIES.values():
        assert shown.plain in text
        assert shown.plain_unit in text
    # 2.91 rad
    assert "167 ± 35" in text


def test_numbers_and_provenance_are_on_the_page(page):
    text = Page(page).text
    for words in ("2.13 × 10⁻⁴", "4.40 × 10⁻³", "0.041 σ", "bulk", "60.9", "cpu x 4"):
        assert words in text
    for words in ("jax 0.12.0", "run 0", "0f3a0f3a0f3a0f3a", "2026-01-01T10:00:00"):
        assert words in text


def test_sound_chains_are_called_sound(page):
    text = Page(page).text
    assert text.count("Chains are sound") == 2
    assert "Look at the chains" not in text


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("r_hat", R_HAT_LIMIT + 0.002, "R-hat"),
        ("r_hat", float("nan"), "R-hat"),
        ("ess_bulk", ESS_LIMIT - 1.0, "bulk"),
        ("ess_tail", ESS_LIMIT - 1.0, "tail"),
    ],
)
def test_bad_chains_are_called_out(summary, manifest, key, value, word):
    summary["learned"]["dm31"][key] = value
    judged = verdict(summary["learned"], "learned cross section")
    assert not judged.good
    assert len(judged.reasons) == 1
    assert word in judged.reasons[0]
    text = Page(render_report(summary, manifest, "", {})).text
    assert text.count("Look at the chains") == 1
    assert judged.reasons[0] in text


@pytest.mark.parametrize("count", [1, 7])
def test_divergences_are_called_out(summary, count):
    summary["truth"]["divergences"] = count
    (reason,) = verdict(summary["truth"], "true cross section").reasons
    assert reason.startswith(f"{count} divergent")


def test_limits_themselves_pass(summary):
    entry = {"mean": 1.0, "r_hat": R_HAT_LIMIT, "ess_bulk": ESS_LIMIT, "ess_tail": ESS_LIMIT}
    assert verdict({"dm31": entry, "divergences": 0}, "").good


def test_one_cross_section_alone_makes_a_report(summary, manifest):
    del summary["truth"], summary["asimov"]
    text = Page(render_report(summary, manifest, "", {})).text
    assert "with the learned cross section" in text
    assert "with the true cross section" not in text
    assert text.count("Chains are sound") == 1


def test_missing_numbers_are_dashes(summary, manifest):
    del summary["learned"]["dm31"]["mle"]
    summary["near"]["rel_l2"] = None
    summary["far"]["rel_l2"] = float("nan")
    text = Page(render_report(summary, manifest, "", {})).text
    assert not re.search(r"\b(nan|None)\b", text)


def table(page: str, head: str) -> list[str]:
    """Cells of the first row that opens with a heading."""
    row = re.search(rf"<th>{re.escape(head)}</th>(.*?)</tr>", page, re.DOTALL)
    assert row is not None, head
    return re.findall(r"<td>(.*?)</td>", row.group(1))


def test_three_cross_sections_read_as_a_list(summary, manifest, true_values):
    summary["assumed"] = summary["learned"] | {"octant_upper_probability": 0.9}
    text = Page(render_report(summary, manifest, "", {})).words
    assert text.count("Chains are sound") == 3
    assert "Learned, true and assumed name the cross section" in text
    first, _, octant = sentences(summary, true_values)
    assert re.search(r"learned .*\), .* true .*\), and .* with the assumed cross section", first)
    assert "43 % with the true cross section and 90 % with the assumed cross section" in octant
    assert headlines(summary, {})[0]["assumed"] == headlines(summary, {})[0]["learned"]


def test_assumed_cross_section_is_named_only_where_there_is_one(summary, manifest):
    text = Page(render_report(summary, manifest, "", {})).text
    assert "assumed cross section" not in text
    assert "Learned and true name the cross section" in text


def test_systematics_stand_between_result_and_learning(summary, manifest, budget):
    figures = {stem: png() + stem.encode() for stem in ("density_near", "pulls", "posterior")}
    page = render_report(summary, manifest, "", figures, budget=budget)
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings[0] == FIGURES["posterior"].section
    assert headings.index("Numbers") < headings.index(SYSTEMATICS)
    assert headings.index(SYSTEMATICS) < headings.index(FIGURES["density_near"].section)
    assert re.findall(r'<figure id="(.*?)">', page) == ["posterior", "pulls", "density_near"]
    assert re.findall(r"Figure (\d+)\.", page) == ["1", "2", "3"]


def test_section_on_systematics_needs_a_budget_or_figures(summary, manifest, budget):
    assert SYSTEMATICS not in render_report(summary, manifest, "", {})
    assert f"<h2>{SYSTEMATICS}</h2>" in render_report(summary, manifest, "", {}, budget=budget)
    alone = render_report(summary, manifest, "", {"sources": png()})
    assert f"<h2>{SYSTEMATICS}</h2>" in alone
    assert "prior sd" not in alone


def test_budget_table_has_a_row_for_each_run(summary, manifest, budget):
    page = render_report(summary, manifest, "", {}, budget=budget)
    page = page[page.index(f"<h2>{SYSTEMATICS}</h2>") :]
    dm31 = ["1.83", "1.83", "0.00"]
    assert table(page, "statistics") == [*dm31, "3.10", "3.10", "0.00", "0", "1850", "14.2"]
    cells = table(page, "learned cross section")
    assert cells[:3] == ["1.93", "0.62", "−0.03"]
    assert cells[3:6] == ["3.23", "0.90", "−0.03"]
    assert table(page, "everything")[:2] == ["2.26", "1.33"]
    text = Page(page).text
    assert "Δm²₃₁ [10⁻⁵ eV²]" in text
    assert "sin²2θ₂₃ [10⁻³]" in text
    assert "the standard deviation of Δm²₃₁ is 2.26 × 10⁻⁵ eV²" in text
    assert "1.10 × 10⁻⁵ eV² (detector response)" in text


def test_every_nuisance_is_in_a_folded_table(manifest, budget):
    page = render_budget(budget, manifest, "", {})
    folded = page[page.index("<details>") :]
    for nuisance in budget["nuisances"]:
        mean, sd, first, second = table(folded, nuisance["label"])
        assert float(mean.replace("−", "-")) == pytest.approx(nuisance["mean"], abs=6e-3)
        assert float(sd) == pytest.approx(nuisance["sd"], abs=6e-3)
        found = [float(cell.replace("−", "-")) for cell in (first, second)]
        assert found == pytest.approx(list(nuisance["correlation"].values()), abs=6e-3)
    groups = re.findall(r'class="group"><th[^>]*>(.*?)</th>', folded)
    assert groups == ["cross section", "flux shape", "detector response"]


def test_budget_page_stands_alone_and_escapes_everything(manifest, budget):
    budget["rows"][1]["label"] = budget["nuisances"][0]["label"] = HOSTILE
    budget["nuisances"][1]["group"] = HOSTILE
    budget["rows"][1]["divergences"] = 2
    figures = {"budget": png(), "pulls": png() + b"2", "my_own": png() + b"3"}
    page = render_budget(budget, manifest, CARD, figures, HOSTILE)
    parsed = Page(page)
    assert "<script" not in page
    assert "script" not in parsed.tags
    assert parsed.text.count(HOSTILE) >= 5
    targets = {v for _, key, v in parsed.attributes if key in {"src", "href", "srcset", "action"}}
    assert len(targets) == 3
    assert all(target.startswith("data:image/png;base64,") for target in targets)
    assert "default-src 'none'" in page
    assert CARD.strip() in parsed.text
    assert "jax 0.12.0" in parsed.text
    assert re.findall(r"<h1>(.*?)</h1>", page) == ["Budget of uncertainties"]


def test_bad_chains_of_a_budget_are_called_out(manifest, budget):
    assert "Look at the chains" not in render_budget(budget, manifest, "", {})
    budget["rows"][2]["divergences"] = 7
    budget["rows"][3]["ess_bulk"] = ESS_LIMIT - 1.0
    budget["rows"][4]["ess_bulk"] = float("nan")
    text = Page(render_budget(budget, manifest, "", {})).text
    assert "flux shape: 7 divergent" in text
    assert f"detector response: bulk effective sample size {ESS_LIMIT - 1:.0f}" in text
    assert "everything: bulk effective sample size –" in text


def test_missing_numbers_of_a_budget_are_dashes(manifest, budget):
    del budget["rows"][1]["sin2_2theta23"], budget["rows"][2]["seconds"]
    budget["rows"][3]["dm31"]["shift"] = float("nan")
    del budget["nuisances"][0]["correlation"], budget["nuisances"][1]["mean"]
    page = render_budget(budget, {}, "", {})
    assert table(page, "learned cross section")[3:6] == ["–", "–", "–"]
    assert not re.search(r"\b(nan|None)\b", Page(page).text)
    assert 'class="budget"' not in render_budget({}, {}, "", {})
