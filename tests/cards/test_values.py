"""Cards and their changes as Python values, and the words of messages about them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from bayesxs.cards.bundled import find_card, folder, names
from bayesxs.cards.card import Card, load_card
from bayesxs.cards.counted import is_counted
from bayesxs.cards.nature import LhapdfPDF
from bayesxs.cards.overrides import parse_overrides
from bayesxs.errors import InputError, Words, speaking

OPTIONS = Words(preset="--preset", overrides="--set", out="--out", again="--resume")


def test_values_of_python_are_those_of_toml() -> None:
    written = ["far.events=7", "beam.energy_max_GeV=9.5", 'sample=[{flavor_out="e"}]']
    values = {
        "far": {"events": np.int64(7)},
        "beam.energy_max_GeV": np.float64(9.5),
        "sample": ({"flavor_out": "e"},),
    }
    assert load_card(overrides=values) == load_card(overrides=parse_overrides(written))


def test_paths_and_sections_are_values(tmp_path: Path) -> None:
    pdf = LhapdfPDF(name="CT18NNLO")
    card = load_card(overrides={"near.file": tmp_path / "near.csv", "nature.pdf": pdf})
    assert card.near.file == str(tmp_path / "near.csv")
    assert card.nature.pdf == pdf


def test_a_card_may_be_a_mapping_or_a_card() -> None:
    card = load_card({"far": {"events": 7}}, "quick")
    assert (card.far.events, card.network.width) == (7, 32)
    assert load_card(card) == card
    changed = load_card(card, overrides={"far.events": 8})
    assert changed == card.model_copy(update={"far": card.far.model_copy(update={"events": 8})})


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"card": {"far": {"events": 0}}}, "card: far.events = 0: must be"),
        ({"card": 3}, "card: 3: must be a path"),
        ({"card": Card(), "preset": "quick"}, 'preset: preset = "quick": a Card has every key'),
        ({"overrides": {"far.events": "7"}}, 'overrides: far.events = "7": must be a valid int'),
        ({"overrides": {3: 1}}, "overrides: 3 = 1: a key is text"),
        ({"overrides": ["far.events=7"]}, "must be a mapping"),
        ({"overrides": {"seed": 2**70}}, "a whole number of at most 64 bits"),
        ({"overrides": {"far": {"evnts": 1}}}, 'unknown key; did you mean "events"?'),
    ],
)
def test_faults_name_arguments(arguments, line: str) -> None:
    with pytest.raises(InputError) as caught:
        load_card(**arguments)
    assert line in str(caught.value)
    assert "--" not in str(caught.value)


def test_values_without_end_are_refused() -> None:
    endless: dict[str, object] = {}
    endless["far"] = endless
    for read in (lambda: load_card(endless), lambda: load_card(overrides=endless)):
        with pytest.raises(InputError, match="nested too deep"):
            read()


def test_messages_take_the_words_of_the_interface() -> None:
    with speaking(OPTIONS), pytest.raises(InputError, match=r"^--set: far\.events = 0: must"):
        load_card(overrides={"far.events": 0})
    with pytest.raises(InputError, match=r"^overrides: far\.events = 0: must"):
        load_card(overrides={"far.events": 0})


@pytest.mark.parametrize("name", [n for n in names() if not is_counted(n)])
def test_bundled_cards_have_names(name: str) -> None:
    assert load_card(name) == load_card(folder() / f"{name}.toml")


def test_a_file_goes_before_a_bundled_card(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_card("dune-toy") == folder() / "dune-toy.toml"
    (tmp_path / "dune-toy").write_text("seed = 3\n")
    assert load_card("dune-toy").seed == 3


def test_an_unknown_name_lists_the_bundled_cards(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r'did you mean "dune-toy"'):
        load_card("dune-tyo")
    with pytest.raises(InputError) as caught:
        load_card("xyzzy")
    told = str(caught.value).partition("bundled cards: ")[2]
    assert [name for word in told.split(", ") for name in spelled_out(word)] == names()


def spelled_out(word: str) -> list[str]:
    """Names of a word with braces, as a shell spells them out, from the innermost."""
    inner = re.search(r"(.*[,{]|)([\w-]*)\{([^{}]*)\}(.*)", word)
    if inner is None:
        return [word]
    before, family, members, after = inner.groups()
    names = ",".join(family + member for member in members.split(","))
    return spelled_out(before + names + after) if before else names.split(",")
