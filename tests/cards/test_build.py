"""The cross sections that the sections `[nature]` and `[assumed]` stand for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import bayesxs
from bayesxs.cards.build import build_experiment, input_files
from bayesxs.cards.card import load_card
from bayesxs.physics.delta_resonance import Delta

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
    x, q2 = np.array([0.2, 0.5, 0.9]), np.array([0.3, 0.4, 0.5])
    for anti in (False, True):
        of_card, of_library = (n.structure_functions(0.1057, anti)(x, q2) for n in (built, own))
        np.testing.assert_array_equal(np.asarray(of_card), np.asarray(of_library))


def test_a_card_without_keys_is_argon() -> None:
    built = build_experiment(load_card({"nature": {"type": "nucleus"}})).nature
    own = bayesxs.Nucleus(bayesxs.ct18nnlo())
    x, q2 = np.array([0.2, 0.5, 0.9]), np.array([0.3, 0.4, 0.5])
    one, other = (n.structure_functions(0.1057)(x, q2) for n in (built, own))
    np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


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
