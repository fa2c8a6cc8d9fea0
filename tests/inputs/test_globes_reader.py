"""GLoBES folders: the published configuration as one, a small one, and what is refused."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesxs.errors import InputError
from bayesxs.inputs.globes.aedl import Aedl
from bayesxs.inputs.globes.dune import embedded_dune
from bayesxs.inputs.globes.reader import read_globes

AEDL = """%!GLoBES
$version="3.2.13"
YEARS = 2 * (1.5 + 0.5)^2 / 4   /* two */
include "errors.inc"
$profiletype = 3
$densitytab = {2.8}
$lengthtab = {1000}
$target_mass = 2.5e1 // kt
nuflux(#beam)< @flux_file = "flux.dat" @time = YEARS @power = 3 @norm = 1e3 >
cross(#CC)< @cross_file = "./xsec.dat" >
$emin = 0 $emax = 3
$binsize = {1, 2}
$sampling_min = 0.5 $sampling_max = 3.5 $sampling_points = 3
energy(#smear)<
@energy = {0, 2, 0.5, 0.25, 0}: {1,2, 0.5, 1}; >
%half = {0.5, 0.25}
%unused = bincenter()
channel(#one)<
  @channel = #beam: +: m: e: #CC: #smear
  @post_smearing_efficiencies = copy(%half)
>
channel(#two)<
  @channel = #beam: -: m: NOSC_m: #CC: #smear
  @pre_smearing_efficiencies = {1, 0.5, 0.2}
>
rule(#app)<
  @signal = 0.9@#one
  @sys_on_multiex_errors_sig = { #norm }
  @background = 1.0@#two : #one
  @sys_on_multiex_errors_bg = { #norm, #other } : { }
  @sys_on_function = "chiMultiExp"
  @sys_off_function = "chiNoSysSpectrum"
  @energy_window = 0.5 : 3
>
"""
ERRORS = "ERR = 0.04\nsys(#norm)< @error = ERR/2 >\nsys(#other)<@error = 0.1>\n"
FLUX = "".join(f"{e} 1 2 3 4 5 6\n" for e in (0.5, 1.5, 2.5, 3.5))
XSEC = "-1 .1 .2 .3 .4 .5 .6\n1 .1 .2 .3 .4 .5 .6\n"


def write(folder: Path, *changes: tuple[str, str], **files: str) -> Path:
    """Write a folder, with parts of its text replaced."""
    text = AEDL
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    held = {"errors.inc": ERRORS, "flux.dat": FLUX, "xsec.dat": XSEC, "toy.glb": text}
    held.update({name.replace("_", "."): content for name, content in files.items()})
    for name, content in held.items():
        (folder / name).write_text(content)
    return folder / "toy.glb"


def test_a_small_experiment(tmp_path: Path) -> None:
    found = read_globes(write(tmp_path))
    np.testing.assert_array_equal(found.reconstructed, [0.0, 1.0, 3.0])
    np.testing.assert_array_equal(found.true, [0.5, 1.5, 2.5, 3.5])
    assert (found.length, found.density, found.mass) == (1000.0, 2.8, 25.0)
    assert found.beams["beam"].years == 2.0
    assert found.exposure("beam") == pytest.approx(1e3 * 3.0 * 2.0 * 25.0 / 1000.0**2)
    np.testing.assert_array_equal(found.matrices["smear"], [[0.5, 0.25, 0.0], [0.0, 0.5, 1.0]])
    assert found.errors == {"norm": 0.02, "other": 0.1}
    assert found.windows == {"app": (0.5, 3.0)}
    one, two, again = found.channels
    assert (one.name, one.weight, one.errors, one.signal) == ("one", 0.9, ("norm",), True)
    assert (two.errors, again.name, again.weight, again.errors) == (
        ("norm", "other"),
        "one",
        1.0,
        (),
    )
    assert (one.flavor_in, one.flavor_out, one.antineutrino, one.oscillates) == (
        "mu",
        "e",
        False,
        True,
    )
    assert (two.flavor_in, two.flavor_out, two.antineutrino, two.oscillates) == (
        "mu",
        "mu",
        True,
        False,
    )
    np.testing.assert_array_equal(one.post, [0.5, 0.25])
    np.testing.assert_array_equal(two.pre, [1.0, 0.5, 0.2])
    np.testing.assert_allclose(found.cross_sections["CC"](14, [1.0, 2.0]), [0.2, 0.4])


def test_the_published_files_give_the_embedded_configuration(
    reference: Path, tmp_path: Path
) -> None:
    release = reference / "globes"
    for folder in ("smr", "eff", "xsec"):
        shutil.copytree(release / folder, tmp_path / folder)
    for mode in ("neutrino", "antineutrino"):
        name = f"flux_dune_{mode}_FD_globes.txt"
        shutil.copy(reference / "flux" / name, tmp_path / name)
    with (release / "channels.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    wanted = embedded_dune()
    lines = ["%!GLoBES", "$profiletype = 3 $densitytab = {2.848} $lengthtab = {1284.9}"]
    lines.append("$target_mass = 40 $emin = 0 $emax = 110 $sampling_min = 0 $sampling_max = 110")
    for name, edges in (("$binsize", wanted.reconstructed), ("$sampling_stepsize", wanted.true)):
        lines.append(f"{name} = {{{', '.join(f'{step:g}' for step in np.diff(edges))}}}")
    for name, mode in (("FHC", "neutrino"), ("RHC", "antineutrino")):
        lines.append(
            f'nuflux(#{name})< @flux_file = "./flux_dune_{mode}_FD_globes.txt"'
            " @time = 6.5 @power = 11.0 @norm = 1.017718e17 >"
        )
    for name in ("CC", "NC"):
        lines.append(f'cross(#{name})< @cross_file = "xsec/xsec_{name.lower()}.dat" >')
    for file in dict.fromkeys((*(r["smearing"] for r in rows), *(r["efficiency"] for r in rows))):
        lines.append(f'include "{file}"')
    for name, sd in wanted.errors.items():
        lines.append(f"sys(#err_{name})< @error = {sd} >")
    rules: dict[str, dict[str, list[dict[str, str]]]] = {}
    for row in rows:
        target = row["flavour_out"] if row["oscillated"] == "yes" else f"NOSC_{row['flavour_out']}"
        sign = "+" if row["helicity"] == "neutrino" else "-"
        lines.append(
            f"channel(#{row['channel']})<\n @channel = #{row['beam_mode']}: {sign}:"
            f" {row['flavour_in']}: {target}: #{row['cross_section']}:"
            f" #{Path(row['smearing']).stem}"
            f"\n @post_smearing_efficiencies = copy(%{Path(row['efficiency']).stem})\n>"
        )
        rules.setdefault(row["rule"], {}).setdefault(row["kind"], []).append(row)
    for name, kinds in rules.items():
        lines.append(f"rule(#{name})<")
        for kind, short in (("signal", "sig"), ("background", "bg")):
            lines.append(f"@{kind} = " + " : ".join(f"1.0@#{r['channel']}" for r in kinds[kind]))
            errors = " : ".join(f"{{#{r['normalisation_error']}}}" for r in kinds[kind])
            lines.append(f"@sys_on_multiex_errors_{short} = {errors}")
        lines.append('@sys_on_function = "chiMultiExp" @energy_window = 0.5 : 18 >')
    (tmp_path / "dune.glb").write_text("\n".join(lines))
    found = read_globes(tmp_path / "dune.glb")
    assert found.samples == wanted.samples
    assert found.windows == wanted.windows
    assert found.errors == {f"err_{name}": sd for name, sd in wanted.errors.items()}
    for ours, theirs in zip(found.channels, wanted.channels, strict=True):
        np.testing.assert_array_equal(found.matrices[ours.matrix], wanted.matrices[theirs.matrix])
        np.testing.assert_array_equal(ours.post, theirs.post)
        assert ours.errors == (f"err_{theirs.errors[0]}",)
        assert (ours.name, ours.sample, ours.pdg_in, ours.pdg_out, ours.oscillates) == (
            *(theirs.name, theirs.sample, theirs.pdg_in, theirs.pdg_out, theirs.oscillates),
        )
    for name in ("FHC", "RHC"):
        assert found.exposure(name) == pytest.approx(wanted.exposure(name), rel=1e-12)
        np.testing.assert_allclose(found.beams[name].flux.values, wanted.beams[name].flux.values)


SMEAR = "{0, 2, 0.5, 0.25, 0}: {1,2, 0.5, 1}"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("%!GLoBES", "", "first line = .*: %!GLoBES"),
        (SMEAR, "{0, 2, 0.5, 0.25, 0}", "rows = 1: 2, one for each reconstructed bin"),
        (SMEAR, SMEAR.replace("{1,2", "{2,3"), r"line 15: row 1 = \{2, 3\}: true bins from 0 to 2"),
        (SMEAR, SMEAR.replace("{1,2", "{-1,2"), r"row 1 = \{-1, 2\}: true bins from 0 to 2"),
        (SMEAR, SMEAR.replace("{1,2", "{0.5,2"), r"row 1 = \{0.5, 2\}: true bins"),
        (SMEAR, SMEAR.replace(", 1}", "}"), "row 1 = 1 parts: 2 parts, for the true bins 1 to 2"),
        (SMEAR, SMEAR.replace("0.25", "1.25"), "row 0, true bin 1 = 1.25: from 0 to 1"),
        (SMEAR, SMEAR.replace("0.25", "nan"), "@energy = .*: a number"),
        ("{0.5, 0.25}", "{0.5, 1.25}", "post_smearing_efficiencies, bin 1 = 1.25: an efficiency"),
        ("{0.5, 0.25}", "{0.5, -0.25}", "bin 1 = -0.25: an efficiency, from 0 to 1"),
        ("{0.5, 0.25}", "{0.5}", "post_smearing_efficiencies = 1 numbers: 2, one for each bin"),
        ("{1, 0.5, 0.2}", "{1, 0.5}", "pre_smearing_efficiencies = 2 numbers: 3"),
        ("copy(%half)", "copy(%third)", "%third: a list that is defined"),
        ("copy(%half)", "interpolation(%half, %half, 1, %half)", "a list, {1, 2, 3}"),
        ('"flux.dat"', '"absent.dat"', "@flux_file = absent.dat: a file: there is no"),
        ('"flux.dat"', '"../flux.dat"', "@flux_file = ../flux.dat: a file in the folder"),
        ('"flux.dat"', '"/etc/passwd"', "@flux_file = /etc/passwd: a file in the folder"),
        ('"./xsec.dat"', '""', "@cross_file = : a file in the folder"),
        ('"errors.inc"', '"gone.inc"', "include = gone.inc: a file: there is no"),
        ('"errors.inc"', '"toy.glb"', "include = .*: at most 500 files of 64 MB, 20 deep"),
        ("m: e: #CC", "x: e: #CC", "x: e, m or t"),
        ("+: m", "*: m", "[*]: [+] for neutrinos"),
        ("m: NOSC_m", "m: NOSC_e", "NOSC_m: without oscillation flavors stay"),
        (
            "#CC: #smear\n  @post",
            "#QE: #smear\n  @post",
            "channel one: cross section = QE: one of CC",
        ),
        ("0.9@#one", "0.9@#none", "rule app: @signal = none: one of one, two"),
        ("{ #norm }", "{ #unknown }", "channel one: error = unknown: one of norm, other"),
        ("{ #norm }", "{ #norm } : {#norm}", "2 lists: 1 lists, one for each channel"),
        ('"chiMultiExp"', '"chiSpectrumTilt"', "chiSpectrumTilt: one of chiMultiExp"),
        ("@energy_window", "@energy_windows", "rule app = @energy_windows: one of @signal"),
        ("0.5 : 3", "3 : 0.5", "low : high, in GeV"),
        ("$emax = 3", "$emax = 4", "[$]binsize = 3: widths that add up to"),
        ("$sampling_points = 3", "$sampling_points = 1e9", "a whole number from 1 to 2000"),
        ("$target_mass", "$target", "variable = [$]target: one of"),
        ("YEARS = 2", "YEARS = OTHER", "OTHER: a number, or a name that was defined before"),
        ("^2 / 4", "^2 / 0", "a finite number"),
        ("^2 / 4", "^9999", "a finite number"),
        ("/* two */", "/* two", r"line 3 = /[*]: a comment that is closed"),
        ("$profiletype = 3", "$profiletype = 1", "profiletype = 1: 3, with"),
        ("{2.8}", "{2.8, 3.0}", "densitytab = 2 layers: one layer"),
        ("cross(#CC)", "crosses(#CC)", "word = crosses: one of flux"),
        ("@norm = 1e3 >", "@norm = 1e3", "nuflux beam"),
        ("$emin = 0", "$emin = 0 §", "§ .*: a word of GLoBES"),
        ("$emin = 0", "$filter_state = 1 $emin = 0", "low-pass filter"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(InputError, match=message.replace("{1, 2, 3}", r"\{1, 2, 3\}")) as caught:
        read_globes(write(tmp_path, (old, new)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("-1 .1 .2 .3\n", "line 1: columns = 4: 7 in each line"),
        ("-1 1 1 1 1 1 x\n", "line 1 = .*: seven numbers"),
        ("-1 1 1 1 1 1 -1\n1 1 1 1 1 1 1\n", "row 1: column 7 = -1.0"),
        ("1 1 1 1 1 1 1\n-1 1 1 1 1 1 1\n", "row 2: log10.E. = -1.0: above the previous"),
        ("", "lines = 0"),
    ],
)
def test_cross_sections_that_are_none(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_globes(write(tmp_path, xsec_dat=content))


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    path = write(inner)
    (tmp_path / "secret.dat").write_text(XSEC)
    (inner / "xsec.dat").unlink()
    (inner / "xsec.dat").symlink_to(tmp_path / "secret.dat")
    with pytest.raises(InputError, match="a file in the folder"):
        read_globes(path)


def test_lists_that_name_one_another_end(tmp_path: Path) -> None:
    path = write(tmp_path, ("{0.5, 0.25}", "copy(%other)\n%other = copy(%half)"))
    with pytest.raises(InputError, match="a list that is defined"):
        read_globes(path)


@given(a=st.floats(0.1, 9.0), b=st.floats(0.1, 9.0), c=st.integers(0, 3), d=st.floats(0.1, 9.0))
@settings(max_examples=50, deadline=None)
def test_arithmetic_is_that_of_python(a: float, b: float, c: int, d: float) -> None:
    # Nothing of a file is executed: the same expression, once written and once computed
    text = f"%!GLoBES\nX = {d!r}\nY = -{a!r} + {b!r}*(X - {a!r})^{c} / {b!r} - -X\n"
    found = Aedl(Path("text"))
    found.take(text)
    assert found.definitions["Y"] == pytest.approx(
        -a + b * (d - a) ** c / b + d, rel=1e-9, abs=1e-9
    )


@given(text=st.text(alphabet='{}()<>@#$%:;,=+-*/^"\n abnet019.', max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        Aedl(Path("text")).take("%!GLoBES\n" + text)
    except InputError as error:
        assert "\n" not in str(error)
