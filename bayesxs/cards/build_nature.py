"""From the sections `[nature]` and `[assumed]` to cross sections."""

from __future__ import annotations

from pathlib import Path

from bayesxs.cards.nature import (
    EmbeddedPDF,
    LhapdfPDF,
    NatureCard,
    NucleusCard,
    QuarkPartonCard,
)
from bayesxs.inputs.lhagrid import set_files
from bayesxs.inputs.pdf import (
    PDF,
    embedded_ct18nnlo,
    embedded_les_houches,
    find_pdf_set,
    load_lhapdf_grid,
    load_official,
    require_flavors,
    with_heavy_flavors,
)
from bayesxs.physics.delta_resonance import Delta
from bayesxs.physics.modification import Modification
from bayesxs.physics.nature import Nature, QuarkParton
from bayesxs.physics.nucleus import Nucleus
from bayesxs.physics.structure_functions import PARTONS


def build_nature(nature: NatureCard) -> Nature:
    """Return the cross section that a section stands for.

    Raises:
        InputError: its PDF set is not found, cannot be read, or lacks partons.
    """
    return _nucleus(nature) if isinstance(nature, NucleusCard) else _quark_parton(nature)


def pdf_files(pdf: EmbeddedPDF | LhapdfPDF) -> list[Path]:
    """Return the files that parton distributions are read from."""
    if not isinstance(pdf, LhapdfPDF):
        return []
    return list(set_files(find_pdf_set(pdf.name), pdf.member))


def _quark_parton(nature: QuarkPartonCard) -> QuarkParton:
    change = Modification(
        nature.q2_suppression_GeV2,
        nature.xf3_scale,
        nature.protons + nature.neutrons if nature.emc else 0,
    )
    return QuarkParton(
        _pdf(nature.pdf),
        nature.protons,
        nature.neutrons,
        nature.form,
        None if change == Modification() else change,
    )


def _nucleus(nature: NucleusCard) -> Nucleus:
    low, high = nature.transition_GeV
    return Nucleus(
        _pdf(nature.pdf),
        nature.protons,
        nature.neutrons,
        nature.fermi_momentum_GeV,
        nature.energy_shift_GeV,
        nature.axial_mass_GeV,
        nature.quasi_elastic,
        nature.vector,
        Delta(nature.delta_c5a, nature.delta_axial_mass_GeV),
        (low, high),
    )


def _pdf(choice: EmbeddedPDF | LhapdfPDF) -> PDF:
    if not isinstance(choice, LhapdfPDF):
        return embedded_ct18nnlo() if choice.table == "ct18nnlo" else embedded_les_houches()
    if choice.reader == "official":
        pdf: PDF = load_official(choice.name, choice.member)
    else:
        pdf = load_lhapdf_grid(find_pdf_set(choice.name), choice.member)
    pdf = with_heavy_flavors(pdf)
    require_flavors(pdf, PARTONS)
    return pdf
