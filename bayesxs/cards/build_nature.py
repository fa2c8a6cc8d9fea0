"""From the sections `[nature]` and `[assumed]` to cross sections."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Final

from bayesxs.cards.nature import (
    EmbeddedPDF,
    EventsCard,
    LhapdfPDF,
    NatureCard,
    NucleusCard,
    QuarkPartonCard,
)
from bayesxs.errors import InputError
from bayesxs.experiment.generated import EventNature
from bayesxs.inputs.generators.events import Rules
from bayesxs.inputs.generators.read import read_events
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

# As $NAME or ${NAME} in a path
_VARIABLE: Final = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)\}?")


def build_nature(nature: NatureCard, neutrinos: Collection[int], seed: int) -> Nature | EventNature:
    """Return the cross section that a section stands for.

    Args:
        nature: the section.
        neutrinos: PDG ids of those whose cross sections are needed.
        seed: of the card.

    Raises:
        InputError: its PDF set is not found, cannot be read, or lacks partons; its events cannot be
            read, or there are none.
    """
    if isinstance(nature, EventsCard):
        return _events(nature, neutrinos, seed)
    return _nucleus(nature) if isinstance(nature, NucleusCard) else _quark_parton(nature)


def nature_files(nature: NatureCard) -> list[Path]:
    """Return the files that a cross section is read from."""
    if isinstance(nature, EventsCard):
        return [Path(nature.path)]
    if not isinstance(nature.pdf, LhapdfPDF):
        return []
    return list(set_files(find_pdf_set(nature.pdf.name), nature.pdf.member))


def _events(nature: EventsCard, neutrinos: Collection[int], seed: int) -> EventNature:
    unset = _VARIABLE.search(nature.path)
    if unset and not Path(nature.path).exists():
        allowed = f"a path: the environment variable {unset[1]} is not set"
        raise InputError.at("events", "path", Path(nature.path).name, allowed)
    wanted = next(iter(neutrinos)) if len(neutrinos) == 1 else None
    events = read_events(nature.path, Rules(wanted, nature.target, nature.unwanted))
    return EventNature(events, nature.near_share, seed, nature.channels, nature.same_events)


def _quark_parton(nature: QuarkPartonCard) -> QuarkParton:
    change = Modification(
        nature.q2_suppression_GeV2,
        nature.xf3_scale,
        nature.protons + nature.neutrons if nature.emc else 0,
        nature.f4_shift,
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
        Delta(nature.delta_c5a, nature.delta_axial_mass_GeV, nature.pseudoscalar),
        (low, high),
        nature.pseudoscalar,
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
