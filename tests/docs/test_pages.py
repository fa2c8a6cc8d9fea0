"""What the pages tell a reader to write is taken by the package: cards, commands, Python."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer.main

import bayesxs
from bayesxs.cards.counted import CountedCard, is_counted, load_counted_card
from bayesxs.cards.overrides import parse_overrides
from bayesxs.constants import MUON_MASS
from bayesxs.inputs.counts import load_table
from bayesxs.inputs.covariance import load_covariance
from bayesxs.inputs.events import load_events
from bayesxs.inputs.flux import load_csv_flux

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/README.md"))
    if path.name != "CHANGELOG.md"
)
FENCE = re.compile(r"^ *```(\w*)$\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


class Example(NamedTuple):
    """A piece of code on a page."""

    page: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(language: str) -> list[Example]:
    """Return the fenced blocks of a language on all pages."""
    found = []
    for path in PAGES:
        text = path.read_text()
        for match in FENCE.finditer(text):
            if match[1] == language:
                line = text.count("\n", 0, match.start()) + 2
                found.append(Example(str(path.relative_to(ROOT)), line, match[2]))
    return found


def lines(command: str) -> list[Example]:
    """Return the lines of indented blocks and of shell blocks that call a command."""
    found = []
    for path in PAGES:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if match := re.match(rf"(?: {{4,}}|\$ )(?:\.venv/bin/)?({command} .*)", line):
                text = match[1].partition(" #")[0].strip()
                found.append(Example(str(path.relative_to(ROOT)), number, text))
    return found


def test_there_are_examples_to_test() -> None:
    assert len(blocks("toml")) >= 15
    assert len(blocks("python")) >= 6
    assert len(lines("bayesxs")) >= 20


@pytest.mark.parametrize("example", blocks("toml"), ids=str)
def test_cards_are_taken(example: Example, tmp_path: Path) -> None:
    path = tmp_path / "card.toml"
    path.write_text(example.text)
    if is_counted(path):
        assert isinstance(load_counted_card(path), CountedCard)
    else:
        assert isinstance(bayesxs.load_card(path), bayesxs.Card)


@pytest.mark.parametrize("example", blocks("python"), ids=str)
def test_python_compiles_and_uses_public_names(example: Example) -> None:
    text = example.text
    if text.startswith(" "):  # a piece of a longer example
        text = f"if True:\n{text}"
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "bayesxs":
            assert node.attr in bayesxs.__all__


def parse(group: Any, words: list[str]) -> dict[str, Any]:
    """Parse the words of a command without carrying it out; return its parameters."""
    command = group.commands[words[0]]
    if hasattr(command, "commands"):
        return parse(command, words[1:])
    return dict(command.make_context(words[0], words[1:]).params)


def expanded(text: str) -> list[list[str]]:
    """Return the words of a line after `bayesxs`; a | b stands for several commands."""
    words = shlex.split(text)[1:]
    if "|" not in words:
        return [words]
    head = [] if words[1] == "|" else words[:1]
    return [[*head, word] for word in words[len(head) :] if word != "|"]


# Words without which a command of a list is not complete
REST = {
    ("simulate",): ["RUN"],
    ("sample",): ["RUN"],
    ("bootstrap",): ["RUN"],
    ("report",): ["RUN"],
    ("pdf", "check"): ["SET"],
    ("pdf", "install"): ["SET"],
}


@pytest.mark.parametrize("example", lines("bayesxs"), ids=str)
def test_commands_are_taken(example: Example) -> None:
    (script,) = entry_points(group="console_scripts", name="bayesxs")
    group = typer.main.get_command(importlib.import_module(script.module).app)
    for words in expanded(example.text):
        taken = parse(group, words + (REST.get(tuple(words), []) if "|" in example.text else []))
        card = taken.get("card")
        if card is not None and str(card).startswith("models/"):
            assert (ROOT / card).is_file()
        known = card if card is not None and (ROOT / card).is_file() else None
        if known and is_counted(ROOT / known):
            load_counted_card(ROOT / known, parse_overrides(taken["overrides"] or ()))
        elif "overrides" in taken and "preset" in taken:
            bayesxs.load_card(
                known and ROOT / known, taken["preset"], parse_overrides(taken["overrides"] or ())
            )


@pytest.mark.parametrize("example", lines("make"), ids=str)
def test_targets_exist(example: Example) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = [word for word in example.text.split()[1:] if "=" not in word]
    assert targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)


def test_links_of_the_readme_lead_somewhere() -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / "README.md").read_text())
    assert len(targets) >= 10
    assert [target for target in targets if not (ROOT / target).exists()] == []


# Of which pages dotted names are keys of other files
OTHER_KEYS = {"docs/reference/files.md"}
SUFFIXES = {"csv", "html", "json", "nc", "py", "safetensors", "toml"}
KEY = re.compile(r"`([a-z_]+(?:\.[A-Za-z_0-9]+)+)(?: = [^`]*)?`")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_keys_that_are_named_exist(path: Path) -> None:
    if str(path.relative_to(ROOT)) in OTHER_KEYS:
        return
    for key in KEY.findall(path.read_text()):
        section, *rest = key.split(".")
        if section in bayesxs.Card.model_fields and rest[-1] not in SUFFIXES:
            assert known(bayesxs.Card, [section, *rest]), key


def known(model: Any, path: list[str]) -> bool:
    """Tell whether a dotted key exists in any of the types that its tables have."""
    if path[0] not in model.model_fields:
        return False
    below = models_of(model.model_fields[path[0]].annotation)
    return len(path) == 1 or any(known(m, path[1:]) for m in below)


def models_of(annotation: Any) -> list[Any]:
    if hasattr(annotation, "model_fields"):
        return [annotation]
    return [m for part in getattr(annotation, "__args__", ()) for m in models_of(part)]


# Readers of the files that pages show, by the first words of these files
READERS = {
    "energy,nu_mu": load_csv_flux,
    "energy_low_GeV,energy_high_GeV": load_covariance,
    "lepton_energy_GeV_low": load_table,
    "lepton_energy_GeV,cos_theta": lambda path: load_events(path, [MUON_MASS]),
}


@pytest.mark.parametrize("start", READERS)
def test_files_that_are_shown_can_be_read(start: str, tmp_path: Path) -> None:
    (example,) = [block for block in blocks("text") if block.text.startswith(start)]
    path = tmp_path / "file.csv"
    path.write_text(example.text)
    READERS[start](path)
