"""The cross sections that the sections `[nature]` and `[assumed]` stand for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import bayesxs
from bayesxs.cards.build import build_experiment, input_files
from bayesxs.cards.card import load_card
from bayesxs.physics.delta_resonance import Delta

PDF = bayesxs.ct18nnlo()

CARBON = {
    "type": "nucleus",
    "protons": 6,
    "neutrons": 6,
    "fermi_momentum_GeV": 0.228,
    "energy_shift_GeV": 0.020,
    "axial_mass_GeV": 1.1,
    "quasi_elastic": "fermi_gas",
    "vector": "dipole",
    "delta_c5a": 1.2,
    "delta_axial_mass_GeV": 1.05,
    "transition_GeV": [1.4, 1.9],
    "pdf": {"type": "embedded", "table": "les_houches"},
}


def test_every_key_reaches_the_nucleus() -> None:
    built = build_experiment(load_card({"nature": CARBON})).nature
    assert isinstance(built, bayesxs.Nucleus)
    own = bayesxs.Nucleus(
        bayesxs.les_houches(),
        protons=6,
        neutrons=6,
        fermi_momentum_GeV=0.228,
        energy_shift_GeV=0.020,
        axial_mass_GeV=1.1,
        quasi_elastic="fermi_gas",
        vector="dipole",
        delta=Delta(1.2, 1.05),
        transition_GeV=(1.4, 1.9),
    )
    assert replace(built, pdf=own.pdf) == own
    assert built.pdf.name == own.pdf.name


def test_a_card_without_keys_is_argon() -> None:
    built = build_experiment(load_card({"nature": {"type": "nucleus"}})).nature
    assert isinstance(built, bayesxs.Nucleus)
    assert replace(built, pdf=PDF) == bayesxs.Nucleus(PDF)
    assert built.pdf.name == PDF.name


@pytest.mark.parametrize("section", ["nature", "assumed"])
@pytest.mark.parametrize("kind", ["nucleus", "quark_parton"])
def test_pdf_sets_of_any_nature_are_input_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: str, kind: str
) -> None:
    folder = tmp_path / "Toy"
    folder.mkdir()
    files = [folder / "Toy.info", folder / "Toy_0000.dat"]
    for file in files:
        file.write_text("")
    pdf = {"type": "lhapdf", "name": str(folder)}
    assert input_files(load_card({section: {"type": kind, "pdf": pdf}})) == files
