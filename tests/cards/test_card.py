"""The analysis card: defaults, presets, overrides, and one line for every fault."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bayesxs.cards.beam import BeamCard, CsvFlux, DuneFlux, GlobesFlux, NearFlux
from bayesxs.cards.card import Card, load_card, prior_conflict, to_toml
from bayesxs.cards.counted import is_counted
from bayesxs.cards.nature import LhapdfPDF, NucleusCard, QuarkPartonCard
from bayesxs.cards.overrides import parse_overrides
from bayesxs.cards.presets import PRESETS
from bayesxs.cards.priors import FlatPrior, NormalPrior, NufitPrior
from bayesxs.errors import InputError

MODELS = Path(__file__).parents[2] / "models"


@pytest.fixture
def write(tmp_path: Path):
    def write_card(text: str, name: str = "card.toml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write_card


def fault(path: Path | None, *overrides: str, preset: str | None = None) -> str:
    """Return the one line with which a card is refused."""
    with pytest.raises(InputError) as caught:
        load_card(path, preset, parse_overrides(overrides))
    line = str(caught.value)
    assert "\n" not in line
    return line


# --- what a good card means --------------------------------------------------------------------


def test_an_empty_card_is_the_default(write) -> None:
    assert load_card(write("")) == load_card() == Card()


def test_the_card_wins_over_the_preset(write) -> None:
    card = load_card(write("[network]\nwidth = 17\n"), preset="paper")
    assert card.network.width == 17
    assert card.network.activation == "leaky_relu"
    assert card.training.method == "adam"
    assert card.preset == "paper"


def test_the_preset_option_wins_over_the_cards_own(write) -> None:
    path = write('preset = "paper"\n')
    assert load_card(path).network.head == "unconstrained"
    assert load_card(path, "default").network.head == "auto"


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.toml")), ids=lambda path: path.stem)
def test_bundled_cards_take_the_quick_preset(path: Path) -> None:
    if not is_counted(path):  # cards of samples have none
        assert load_card(path, "quick").preset == "quick"


def test_paper_preset_is_the_published_recipe() -> None:
    # arXiv:2412.16303: 2 inputs, 4 hidden layers of 64, LeakyReLU, Adam, 10 000 full-batch steps
    card = load_card(preset="paper")
    network, training = card.network, card.training
    assert (network.inputs, network.layers, network.width) == ("plain", 4, 64)
    assert (network.activation, network.head, network.members) == ("leaky_relu", "unconstrained", 1)
    assert (training.method, training.adam_steps, training.weighting) == ("adam", 10_000, "uniform")
    assert training.learning_rate == 1e-3


@pytest.mark.parametrize("preset", PRESETS)
def test_the_resolved_card_reads_back_unchanged(preset: str, write) -> None:
    text = '[beam]\nflux = { type = "csv", path = "f.csv" }\n[oscillation]\ns2_23 = 0.55\n'
    card = load_card(write(text), preset)
    assert load_card(write(to_toml(card), "resolved.toml")) == card


@given(
    seed=st.integers(0, 2**32 - 1),
    baseline=st.floats(1e-3, 2e4),
    low=st.floats(0.0, 0.4),
    high=st.floats(0.5, 1.0),
    name=st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), min_size=1),
)
@settings(max_examples=40, deadline=None)
def test_any_values_survive_the_round_trip(
    tmp_path_factory, seed, baseline, low, high, name
) -> None:
    card = Card.model_validate(
        {
            "seed": seed,
            "oscillation": {"baseline_km": baseline},
            "nature": {"pdf": {"type": "lhapdf", "name": "/" + name}},
            "priors": {"s2_23": {"type": "flat", "low": low, "high": high}},
        }
    )
    path = tmp_path_factory.mktemp("cards") / "card.toml"
    path.write_text(to_toml(card), encoding="utf-8", newline="")
    read = load_card(path)
    assert read.model_copy(update={"nature": card.nature}) == card


def test_a_priors_table_replaces_the_default_set(write) -> None:
    card = load_card(write('[priors]\ndcp = { type = "nufit" }\n'))
    assert card.priors.free() == {"dcp": NufitPrior()}
    assert set(Card().priors.free()) == {"dm31", "s2_23"}


def test_an_override_adds_to_or_changes_the_priors() -> None:
    added = load_card(overrides={"priors.s2_13": {"type": "nufit"}})
    assert set(added.priors.free()) == {"s2_13", "s2_23", "dm31"}
    changed = load_card(overrides={"priors.dm31.low": 2.2e-3})
    assert changed.priors.dm31 == FlatPrior(low=2.2e-3, high=3.0e-3)


def test_override_values_are_toml_and_bare_words_strings() -> None:
    values = parse_overrides(
        [
            "grid.nodes_x=60",
            "network.precision=float64",
            "oscillation.newton_steps=exact",
            "nature.pdf.type=lhapdf",
            "nature.pdf.name=CT18NNLO",
            'sample=[{flavor_in="mu", flavor_out="e"}]',
        ]
    )
    assert values["grid.nodes_x"] == 60
    card = load_card(overrides=values)
    assert card.grid.nodes_x == 60
    assert card.oscillation.newton_steps == "exact"
    assert card.nature.pdf == LhapdfPDF(name="CT18NNLO")
    assert card.sample[0].flavor_out == "e"


def test_paths_count_from_the_card_and_overrides_from_the_working_folder(
    write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    path = write('[far]\nfile = "ev.csv"\n[beam]\nflux = { type = "csv", path = "../f.csv" }\n')
    card = load_card(path, overrides={"network.weights": "w.safetensors"})
    assert card.far.file == str(tmp_path / "ev.csv")
    assert card.beam.flux == CsvFlux(path=str(tmp_path.parent / "f.csv"))
    assert card.network.weights == str(elsewhere / "w.safetensors")
    path = write('[beam]\nfar_flux = { type = "globes", path = "far.txt" }\n')
    assert load_card(path).beam.far_flux == GlobesFlux(path=str(tmp_path / "far.txt"))


@pytest.mark.parametrize(("word", "meant"), [("near", NearFlux()), ("dune", DuneFlux())])
def test_a_far_flux_of_the_package_is_named_by_a_word(write, word, meant) -> None:
    card = load_card(write(f'[beam]\nfar_flux = "{word}"'))
    assert card.beam.far_flux == meant
    assert load_card(write(to_toml(card))) == card


def test_a_set_name_stays_a_name(write) -> None:
    named = load_card(write('nature.pdf = { type = "lhapdf", name = "CT18NNLO" }'))
    assert named.nature.pdf == LhapdfPDF(name="CT18NNLO")


def test_whole_numbers_are_taken_for_reals() -> None:
    assert load_card(overrides={"oscillation.baseline_km": 295}).oscillation.baseline_km == 295.0


def test_cards_are_frozen_and_hashable() -> None:
    with pytest.raises(ValidationError):
        Card().seed = 3  # type: ignore[misc]
    assert hash(Card()) == hash(load_card())


def test_import_does_not_start_jax() -> None:
    code = (
        "import sys, bayesxs.cards.card; sys.exit('jax' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- one line for every fault ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[grid]\nnodes_xx = 60", 'grid.nodes_xx = 60: unknown key; did you mean "nodes_x"'),
        ("[grd]\nz = 60", 'grd = {"z": 60}: unknown key; did you mean "grid"?'),
        ("[far]\nxyz = 1", "far.xyz = 1: unknown key; allowed: events, file"),
        ("[grid]\nnodes_x = 60.5", "grid.nodes_x = 60.5: must be a valid integer"),
        ('[grid]\nnodes_x = "60"', 'grid.nodes_x = "60": must be a valid integer'),
        ("[grid]\nnodes_x = true", "grid.nodes_x = true: must be a valid integer"),
        ("grid = 3", "grid = 3: must be a table"),
        ("seed = -1", "seed = -1: must be greater than or equal to 0"),
        ('[beam]\nmode = "nu"', 'beam.mode = "nu": must be "neutrino" or "antineutrino"'),
        ("[beam]\nenergy_min_GeV = nan", "beam.energy_min_GeV = nan: must be a finite number"),
        ("[beam]\nenergy_min_GeV = 30", "beam.energy_min_GeV = 30.0: must be below energy_max_GeV"),
        (
            '[beam]\nflux = { type = "x" }',
            'flux.type = "x": must be one of "dune", "globes",',
        ),
        ('[beam]\nflux = { path = "x" }', 'beam.flux.type = (missing): must be one of "dune"'),
        ('[beam]\nfar_flux = "far"', 'beam.far_flux = "far": allowed: "near", "dune", or a table'),
        ('[beam]\nfar_flux = {type="csv"}', "beam.far_flux.path = (missing): needed"),
        ('[beam]\nflux = "near"', 'beam.flux = "near": must be a table'),
        ('[beam]\nflux = { type = "csv" }', "beam.flux.path = (missing): needed"),
        ('[beam.flux]\ntype="csv"\npth="x"', 'flux.pth = "x": unknown key; did you mean "path"?'),
        ("[nature]\nprotons = 0\nneutrons = 0", "protons + neutrons must be at least 1"),
        ("[nature]\nprotons = -1", "nature.protons = -1: must be greater than or equal to 0"),
        (
            '[nature]\ntype = "nuclear"',
            'type = "nuclear": must be one of "quark_parton", "nucleus"',
        ),
        (
            '[nature]\ntype = "nucleus"\nemc = true',
            'nature.emc = true: only with type = "quark_parton"',
        ),
        (
            "[nature]\naxial_mass_GeV = 1.0",
            'nature.axial_mass_GeV = 1.0: only with type = "nucleus"',
        ),
        (
            '[uncertainty]\ntype = "laplace"\njoint = true',
            'uncertainty.joint = true: only with type = "gaussian_process"',
        ),
        (
            '[uncertainty]\ntype = "none"\nshare = 0.99',
            'uncertainty.share = 0.99: only with type = "ensemble" or "gaussian_process" or ',
        ),
        (
            '[nature]\ntype = "nucleus"\ntransition_GeV = [1.6, 1.3]',
            "nature.transition_GeV = [1.6, 1.3]: the first must be below the second",
        ),
        (
            '[assumed]\ntype = "nucleus"\nfermi_momentum_GeV = 0.0',
            "assumed.fermi_momentum_GeV = 0.0: must be greater than or equal to 0.05",
        ),
        ("[oscillation]\ns2_23 = 1.1", "oscillation.s2_23 = 1.1: must be less than or equal to 1"),
        (
            "[oscillation]\ndm21 = -7e-5",
            "oscillation.dm21 = -7e-05: must be greater than or",
        ),
        ("[oscillation]\ndm31 = 0", "oscillation.dm31 = 0.0: must not be zero"),
        ("[oscillation]\ndm31 = 2.5", "oscillation.dm31 = 2.5: must be less than or equal to 0.1"),
        ("[oscillation]\nnewton_steps = 3", 'newton_steps = 3: must be 0, 1, 2 or "exact"'),
        ("[oscillation]\nnewton_steps = true", 'newton_steps = true: allowed: 0, 1, 2 or "exact"'),
        ('[[sample]]\nflavor_in = "tau"', 'sample[0].flavor_in = "tau": must be "e" or "mu"'),
        ("sample = []", "sample = []: must have at least 1 item"),
        ("[[sample]]\n[[sample]]", "sample = 2 entries: each sample once"),
        (
            '[training]\nmethod = "adam"\nadam_steps = 0',
            "training.adam_steps = 0: must be at least",
        ),
        (
            '[training]\nmethod = "lbfgs"\nlbfgs_steps = 0',
            "training.lbfgs_steps = 0: must be at least 1",
        ),
        ('[network]\nprecision = "float32"', 'network.precision = "float32": must be "float64"'),
        ("[sampler]\nchains = 0", "sampler.chains = 0: must be greater than or equal to 1"),
        ("[sampler]\ntarget_accept = 1", "sampler.target_accept = 1: must be less than 1"),
        ("[sampler]\nchains = 0\ndraws = 0", "(and 1 more)"),
        ('preset = "papr"', 'preset = "papr": one of default, quick, paper; did you mean "paper"?'),
        ("preset = 3", "preset = 3: one of"),
        ("[priors]", "priors = {}: at least one of s2_12"),
        ("priors.dm31 = 3", "priors.dm31 = 3: must be a table"),
        ('priors.s2_33 = { type = "nufit" }', 'unknown key; did you mean "s2_23"'),
        (
            'priors.s2_23 = { type = "flat", lo = 0.1, high = 1 }',
            'priors.s2_23.lo = 0.1: unknown key; did you mean "low"?',
        ),
        ('priors.s2_23 = { type = "flat", low = 0, high = 1.1 }', "s2_23.high = 1.1: must lie"),
        ('priors.s2_23 = { type = "flat", low = 0.6, high = 0.4 }', "must be below high = 0.4"),
        ('priors.dm31 = { type = "flat", low = -3e-3, high = 3e-3 }', "one mass ordering"),
        ('priors.dm31 = { type = "normal", mean = 2e-3, sd = 1e-3 }', "one mass ordering"),
        ('priors.dm21 = { type = "normal", mean = -7e-5, sd = 1e-6 }', "dm21.mean = -7e-05"),
        ('priors.dcp = { type = "flat", low = -200, high = 200 }', "dcp.high = 200.0: must be"),
        (
            'priors.dm31 = { type = "normal", mean = 2e-3, sd = 0 }',
            "dm31.sd = 0: must be greater than",
        ),
        ("[oscillation]\ndm31 = -2.5e-3", "priors.dm31 = [0.002, 0.003]: must contain the true"),
        (
            "[near]\nevents = 100",
            'near.events = 100: allowed: "infinite", or an integer from 10000',
        ),
        ("[near]\nevents = 1e6", "near.events = 1000000.0: allowed"),
        ("[near]\nevents = true", "near.events = "),
        ('[near]\nevents = "many"', 'near.events = "many": allowed: "infinite"'),
        (
            '[response]\ntype = "gaussian"\nenergy_resolution = 0',
            "response.energy_resolution = 0: must be greater than 0",
        ),
        (
            '[response]\ntype = "gaussian"\nenergy_resolution = -0.1',
            "response.energy_resolution = -0.1: must be greater than 0",
        ),
        (
            '[uncertainty]\ntype = "ensemble"',
            'network.members = 1: at least 2 with uncertainty.type = "ensemble"',
        ),
        (
            '[network]\nmembers = 4\n[uncertainty]\ntype = "ensemble"\nmodes = 4',
            "uncertainty.modes = 4: at most 3, one less than network.members = 4",
        ),
        (
            '[network]\nmembers = 2\n[uncertainty]\ntype = "laplace"',
            'network.members = 2: 1 with uncertainty.type = "laplace"',
        ),
        (
            '[flux_shape]\ntype = "parametric"',
            'uncertainty.type = "none": with flux_shape must be ensemble',
        ),
        (
            '[flux_shape]\ntype = "parametric"\n[uncertainty]\ntype = "file"\npath = "r"',
            'uncertainty.type = "file": with flux_shape must be ensemble',
        ),
        (
            '[flux_shape]\ntype = "parametric"\nnear_constraint = true',
            "flux_shape.near_constraint = true: removed: uncertainty.joint = true lets near data",
        ),
        (
            '[uncertainty]\ntype = "gaussian_process"\njoint = true',
            "uncertainty.joint = true: false without an uncertain flux: add flux_shape.type",
        ),
        (
            '[uncertainty]\ntype = "gaussian_process"\njoint = true\n'
            '[flux_shape]\ntype = "parametric"\n'
            '[response]\ntype = "gaussian"\ncorrelated = true',
            "uncertainty.joint = true: false with response.correlated = true",
        ),
        (
            '[uncertainty]\ntype = "gaussian_process"\njoint = true\n'
            '[flux_shape]\ntype = "parametric"\n[campaign]\nkind = "sbc"',
            "uncertainty.joint = true: false with campaign",
        ),
        (
            '[uncertainty]\ntype = "gaussian_process"\njoint = true\n'
            '[flux_shape]\ntype = "parametric"\n[network]\nshare = "helicity"',
            'uncertainty.joint = true: false with network.share = "helicity"',
        ),
        (
            '[uncertainty]\ntype = "gaussian_process"\njoint = true\n'
            '[flux_shape]\ntype = "parametric"\n[near]\nevents = 50000',
            "near.events = 50000: at least 100000 with uncertainty.joint = true",
        ),
    ],
)
def test_a_fault_is_one_line_with_key_value_and_what_is_allowed(text, expected, write) -> None:
    path = write(text)
    line = fault(path)
    assert line.startswith(f"{path}: ")
    assert expected in line


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("grid.nodes_x=x", 'overrides: grid.nodes_x = "x": must be a valid integer'),
        ("grid.nodes_x", "overrides: grid.nodes_x: write section.key=value"),
        ("a b=3", "overrides: a b=3: write section.key=value"),
        ("grid.z=[3", "overrides: grid.z = [3: not a TOML value"),
        ("preset=quik", 'did you mean "quick"?'),
        ("beam.energy_max_GeV=0.1", "overrides: beam.energy_min_GeV = 0.5: must be below"),
        ("seed.x=1", "overrides: seed = "),
    ],
)
def test_a_faulty_override_is_told_from_the_card(override: str, expected: str) -> None:
    assert expected in fault(None, override)


def test_an_override_inside_a_value_is_refused() -> None:
    assert "grid is already set to a value" in fault(None, "grid=3", "grid.z=4")


def test_the_fault_of_an_override_is_not_blamed_on_the_card(write) -> None:
    path = write("[grid]\nz = 50\n")
    assert fault(path, "grid.nodes_x=1").startswith("overrides: grid.nodes_x")
    assert fault(path, "far.events=10", "grid.zz=1").startswith("overrides: grid.zz")
    assert fault(write("[grid]\nz = 1\n"), "grid.nodes_x=50").startswith(f"{path}: grid.z")


def test_an_unknown_preset_is_named() -> None:
    assert fault(None, preset="papr").startswith('preset: preset = "papr": one of')


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed = 1\n[grid\n", "line 2: [grid: Expected"),
        ("seed = 1\nseed = 2\n", "line 2: seed = 2: Cannot overwrite a value"),
        ("seed = 1\na = [[[", "line 2: a = [[[: "),
        ('a = "\x01"', "line 1: "),
        ("a = " + "[" * 5000, "nested too deep"),
        ("seed = " + "9" * 5000, "digits"),
    ],
)
def test_broken_toml_names_the_line(text: str, expected: str, write) -> None:
    line = fault(write(text))
    assert "card.toml: " in line
    assert expected in line
    assert len(line) < 400


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    assert "No such file" in fault(tmp_path / "absent.toml")
    assert "is a folder" in fault(tmp_path)
    binary = tmp_path / "card.toml"
    binary.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    assert "not a text file" in fault(binary)
    binary.write_bytes(b"# " + b"x" * 2_000_000)
    assert "larger than" in fault(binary)


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "card.toml"
    path.write_bytes(b"\xef\xbb\xbfseed = 3\r\n")
    assert load_card(path).seed == 3


@given(st.text(max_size=60))
@settings(max_examples=60, deadline=None)
def test_any_text_loads_or_is_refused_in_one_line(tmp_path_factory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        load_card(path)
    except InputError as error:
        assert "\n" not in str(error)


# --- priors against the truth ------------------------------------------------------------------


def test_priors_that_exclude_the_truth_are_told() -> None:
    priors = Card().priors
    assert prior_conflict(priors, {"dm31": 2.5e-3, "s2_23": 0.47}) is None
    key, value, allowed = prior_conflict(priors, {"dm31": 3.1e-3}) or ("", "", "")
    assert (key, value) == ("priors.dm31", "[0.002, 0.003]")
    assert "0.0031" in allowed
    flipped = priors.model_copy(update={"dm31": NormalPrior(mean=-2.5e-3, sd=3e-5)})
    assert prior_conflict(flipped, {"dm31": 2.5e-3}) is not None


def test_the_phase_is_compared_on_the_circle() -> None:
    priors = Card.model_validate(
        {"priors": {"dcp": {"type": "flat", "low": -180.0, "high": 180.0}}}
    ).priors
    assert prior_conflict(priors, {"dcp": 212.0}) is None


def test_python_users_meet_the_same_checks() -> None:
    with pytest.raises(ValidationError, match="must be below energy_max_GeV"):
        BeamCard(energy_min_GeV=5.0, energy_max_GeV=2.0)


@pytest.mark.parametrize(
    ("preset", "changes", "nature", "assumed"),
    [
        ("default", {}, "helicity", "helicity"),
        ("paper", {}, "collinear", "collinear"),
        ("default", {"nature.form": "collinear"}, "collinear", "collinear"),
        ("paper", {"assumed.form": "helicity"}, "collinear", "helicity"),
    ],
)
def test_assumed_has_natures_form_unless_it_is_written(preset, changes, nature, assumed):
    card = load_card(preset=preset, overrides={"assumed.emc": True} | changes)
    assert (card.nature.form, card.assumed.form) == (nature, assumed)


def test_a_nature_is_of_quarks_unless_it_says_so() -> None:
    written = load_card({"nature": {"protons": 6, "neutrons": 6}, "assumed": {"emc": True}})
    assert (written.nature.type, written.assumed.type) == ("quark_parton", "quark_parton")
    said = {"nature.type": "quark_parton", "nature.protons": 17}
    for preset in ("default", "quick", "paper"):
        plain = load_card(preset=preset, overrides={"nature.protons": 17})
        assert load_card(preset=preset, overrides=said) == plain
        assert load_card({"nature": {"type": "quark_parton"}}, preset, said) == plain


@pytest.mark.parametrize("preset", ["default", "quick", "paper"])
def test_a_type_of_nature_replaces_the_other_one(preset: str) -> None:
    card = load_card({"nature": {"emc": True, "protons": 6}}, preset)
    nucleus = load_card(card, overrides={"nature.type": "nucleus"})
    assert nucleus.nature == NucleusCard()
    lighter = load_card(nucleus, overrides={"nature.protons": 6, "nature.axial_mass_GeV": 1.1})
    assert lighter.nature == NucleusCard(protons=6, axial_mass_GeV=1.1)
    again = load_card(nucleus, overrides={"nature.type": "quark_parton", "assumed": {}})
    assert (again.nature, again.assumed) == (QuarkPartonCard(), QuarkPartonCard())


def test_partons_are_assumed_of_a_nucleus_and_the_reverse() -> None:
    one = load_card({"nature": {"type": "nucleus"}, "assumed": {"form": "collinear"}})
    assert one.assumed == QuarkPartonCard(form="collinear")
    other = load_card({"assumed": {"type": "nucleus"}}, "paper")
    assert (other.nature.form, other.assumed) == ("collinear", NucleusCard())


@given(
    energies=st.lists(st.floats(1.08, 4.0), min_size=2, max_size=2, unique=True),
    fermi_momentum=st.floats(0.05, 0.4),
    protons=st.integers(1, 150),
)
@settings(max_examples=20, deadline=None)
def test_nuclei_survive_the_round_trip(tmp_path_factory, energies, fermi_momentum, protons) -> None:
    card = Card(
        nature=NucleusCard(
            transition_GeV=tuple(sorted(energies)),
            fermi_momentum_GeV=fermi_momentum,
            protons=protons,
        )
    )
    path = tmp_path_factory.mktemp("cards") / "card.toml"
    path.write_text(to_toml(card), encoding="utf-8", newline="")
    assert load_card(path) == card


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a." * 20_000 + "a = 1", "at most 16 parts of a key"),
        ("[" + "a.".join([""] * 20_000) + "a]", "at most 16 parts of a key"),
        ("seed = " + "[" * 5_000 + "]" * 5_000, "nested too deep"),
        ("seed = " + "{a = " * 30 + "1" + "}" * 30, "nested too deep"),
        ("seed = " + "9" * 4_000, "at most 64 bits"),
        ("seed = " + "9" * 5_000, "integer string conversion"),
        ("network.width = " + "9" * 30, "at most 64 bits"),
    ],
)
def test_cards_of_anybody_are_refused_at_once(text: str, message: str, tmp_path: Path) -> None:
    card = tmp_path / "card.toml"
    card.write_text(text)
    for read in (lambda: load_card(card), lambda: load_card(overrides=parse_overrides([text]))):
        with pytest.raises(InputError) as caught:
            read()
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) <= 300
    with pytest.raises(InputError, match=message):
        load_card(card)


@pytest.mark.parametrize(
    ("prior", "key"),
    [
        ('{ type = "flat", low = 0.47, high = 0.47000000000000003 }', "s2_23.low"),
        ('{ type = "flat", low = 0.47, high = 0.47 }', "s2_23.low"),
        ('{ type = "normal", mean = 0.47, sd = 5e-324 }', "s2_23.sd"),
        ('{ type = "normal", mean = 0.47, sd = 1e200 }', "s2_23.sd"),
    ],
)
def test_priors_without_width_are_refused(tmp_path, prior, key):
    card = tmp_path / "card.toml"
    card.write_text(f"[priors]\ns2_23 = {prior}\n")
    with pytest.raises(InputError, match=key) as found:
        load_card(card)
    assert len(str(found.value).splitlines()) == 1
