"""Finding PDF sets, and refusing bad ones with one line that says what is wrong."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayesxs.errors import InputError
from bayesxs.inputs.lhagrid import (
    find_pdf_set,
    list_pdf_sets,
    read_info,
    read_lhagrid,
    set_files,
)


def test_reads_back_what_was_written(toy_set):
    grid = read_lhagrid(toy_set.folder)
    assert grid.flavors == toy_set.flavors
    np.testing.assert_allclose(grid.x, toy_set.subgrids[0][0], rtol=1e-15)
    np.testing.assert_allclose(grid.q2, np.concatenate([g[1] for g in toy_set.subgrids]))
    np.testing.assert_array_equal(
        grid.values, np.concatenate([g[2] for g in toy_set.subgrids], axis=1)
    )


def test_info_values():
    info = read_info('SetDesc: "a: b"\nFlavors: [1,\n 2]\nXMin:   1e-9 \n# Note: none\n')
    assert info == {"SetDesc": "a: b", "Flavors": "[1,  2]", "XMin": "1e-9"}


def test_gluon_written_as_zero(toy_set, tmp_path):
    folder = copied(toy_set, tmp_path)
    edit(folder, "-1 1 2 21", "-1 1 2 0")
    assert read_lhagrid(folder).flavors == (-1, 1, 2, 21)


def test_find_by_path_and_by_name(toy_set, tmp_path, monkeypatch):
    monkeypatch.setenv("LHAPDF_DATA_PATH", f"{tmp_path}:{toy_set.folder.parent}")
    assert find_pdf_set(toy_set.folder) == toy_set.folder
    assert find_pdf_set("Toy") == toy_set.folder
    assert list_pdf_sets() == ["Toy"]
    with pytest.raises(InputError) as caught:
        find_pdf_set("Other")
    assert str(tmp_path / "Other") in str(caught.value)
    assert str(toy_set.folder.parent / "Other") in str(caught.value)


def test_find_without_the_variable(monkeypatch):
    monkeypatch.delenv("LHAPDF_DATA_PATH", raising=False)
    assert list_pdf_sets() == []
    with pytest.raises(InputError, match=r"Other.*LHAPDF_DATA_PATH is not set"):
        find_pdf_set("Other")


def copied(toy_set, base: Path) -> Path:
    return Path(shutil.copytree(toy_set.folder, base / "Toy"))


def data_file(folder: Path) -> Path:
    return folder / "Toy_0000.dat"


def edit(folder: Path, old: str, new: str, file: str = "Toy_0000.dat") -> None:
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))


def edit_lines(folder: Path, change) -> None:
    lines = data_file(folder).read_text().splitlines()
    data_file(folder).write_text("\n".join(change(lines)) + "\n")


def swap_first_two(line: str) -> str:
    first, second, *rest = line.split()
    return " ".join([second, first, *rest])


def replace_line(number: int, change):
    """Return an edit of line `number` (from 1) of the data file."""

    def edit_all(lines):
        return [*lines[: number - 1], change(lines[number - 1]), *lines[number:]]

    return lambda folder: edit_lines(folder, edit_all)


# In the toy file line 4 holds x knots, 5 Q knots, 6 flavors, 7 to 56 values, 57 the separator.
BAD_FILES = {
    "no folder": (shutil.rmtree, "no such folder"),
    "no info": (lambda f: (f / "Toy.info").unlink(), "Toy.info: missing"),
    "no member": (lambda f: data_file(f).unlink(), "Toy_0000.dat: member = 0: missing"),
    "empty": (lambda f: data_file(f).write_text(""), "lhagrid1"),
    "binary": (lambda f: data_file(f).write_bytes(b"\xff\xfe\x00\x80" * 99), "not a text file"),
    "format": (lambda f: edit(f, "lhagrid1", "lhagrid2"), "Format = lhagrid2: only lhagrid1"),
    "interpolator": (
        lambda f: edit(f, "NumMembers", "Interpolator: linear\nNumMembers", "Toy.info"),
        "Interpolator = linear: only logcubic",
    ),
    "positivity": (
        lambda f: edit(f, "NumMembers", "ForcePositive: 7\nNumMembers", "Toy.info"),
        "ForcePositive = 7: one of 0, 1, 2",
    ),
    "cut in a row": (
        lambda f: data_file(f).write_text(data_file(f).read_text()[:3000]),
        "truncated",
    ),
    "cut after a subgrid's head": (
        lambda f: edit_lines(f, lambda lines: [*lines[:6], "---"]),
        "truncated",
    ),
    "row lost": (
        lambda f: edit_lines(f, lambda lines: lines[:19] + lines[20:]),
        "line 55: truncated: 49 rows of values, 10 x knots times 5 Q knots make 50",
    ),
    "value lost": (
        replace_line(20, lambda line: " ".join(line.split()[:3])),
        "line 20: 3 values for 4 flavors",
    ),
    "nan": (replace_line(20, lambda line: "nan 1 2 3"), "line 20: a value is not finite"),
    "inf": (replace_line(20, lambda line: "1 -inf 2 3"), "line 20: a value is not finite"),
    "word": (replace_line(20, lambda line: "1 one 2 3"), "line 20: not a number: 1 one 2 3"),
    "x unsorted": (replace_line(4, swap_first_two), "line 4: x knots must be positive and incr"),
    "x zero": (replace_line(4, lambda line: "0 " + line.split(" ", 1)[1]), "line 4: x knots"),
    "x above 1": (replace_line(4, lambda line: line + " 1.5"), "line 4: x = 1.5: an x knot is"),
    "few x": (replace_line(4, lambda line: "0.1 1"), "line 4: 2 x knots: at least 4"),
    "Q unsorted": (replace_line(5, swap_first_two), "line 5: Q knots must be positive and incr"),
    "few Q": (replace_line(5, lambda line: "1.5"), "line 5: 1 Q knots: at least 2"),
    "flavor word": (replace_line(6, lambda line: "u d s g"), "line 6: flavors = u d s g: PDG ids"),
    "flavor twice": (replace_line(6, lambda line: "1 1 2 21"), "line 6: flavors = 1 1 2 21: each"),
    "x differ": (
        replace_line(58, lambda line: line.replace("5.0", "5.1", 1)),
        "subgrids differ in x knots or flavors",
    ),
    "subgrids overlap": (
        replace_line(59, lambda line: "1.6 2 3 4"),
        "subgrids overlap or are out of order in Q",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_file_gives_one_line(toy_set, tmp_path, case):
    folder = copied(toy_set, tmp_path)
    spoil, expected = BAD_FILES[case]
    spoil(folder)
    with pytest.raises(InputError) as caught:
        read_lhagrid(folder)
    message = str(caught.value)
    assert message.startswith(str(folder))
    assert expected in message
    assert "\n" not in message


@settings(max_examples=60, deadline=None)
@given(cut=st.floats(0, 1))
def test_truncated_anywhere(toy_set, cut):
    with tempfile.TemporaryDirectory() as base:
        folder = copied(toy_set, Path(base))
        content = data_file(folder).read_text().rstrip()
        data_file(folder).write_text(content[: int(cut * (len(content) - 1))])
        with pytest.raises(InputError):
            read_lhagrid(folder)


@settings(max_examples=100, deadline=None)
@given(place=st.floats(0, 1), noise=st.binary(min_size=1, max_size=4))
def test_damage_is_refused_or_harmless(toy_set, place, noise):
    with tempfile.TemporaryDirectory() as base:
        folder = copied(toy_set, Path(base))
        content = data_file(folder).read_bytes()
        at = int(place * (len(content) - len(noise)))
        data_file(folder).write_bytes(content[:at] + noise + content[at + len(noise) :])
        try:
            grid = read_lhagrid(folder)
        except InputError as error:
            assert "\n" not in str(error)
        else:
            assert np.all(np.isfinite(grid.values))
            assert np.all(np.diff(grid.x) > 0)
            assert np.all(np.diff(grid.q2) >= 0)


# Sets as people have them


def test_a_set_is_read_by_the_name_asked_for(toy_set, tmp_path, monkeypatch):
    store = tmp_path / "store" / "Toy-1.2"
    shutil.copytree(toy_set.folder, store)
    (tmp_path / "sets").mkdir()
    for name in ("Toy", "current"):  # the second is no name of its files: those of the target are
        (tmp_path / "sets" / name).symlink_to(store if name == "Toy" else tmp_path / "sets" / "Toy")
    monkeypatch.setenv("LHAPDF_DATA_PATH", str(tmp_path / "sets"))
    monkeypatch.chdir(tmp_path / "sets" / "Toy")
    for folder in (find_pdf_set("Toy"), Path(tmp_path / "sets" / "Toy")):
        np.testing.assert_array_equal(
            read_lhagrid(folder).values, read_lhagrid(toy_set.folder).values
        )
        assert set_files(folder, 3)[1] == folder / "Toy_0003.dat"
    shutil.copytree(toy_set.folder, tmp_path / "Other" / "Toy")
    link = tmp_path / "newest"
    link.symlink_to(tmp_path / "Other" / "Toy")
    assert read_lhagrid(link).flavors == toy_set.flavors


def test_info_files_are_yaml_in_any_encoding(toy_set, tmp_path):
    folder = copied(toy_set, tmp_path)
    text = (
        "# Möbius\nAuthors: Müller\nFormat: lhagrid1 # the only one\nNumMembers: 1\n"
        "ForcePositive: 1   # as allowed\nSetDesc: 'a # b: c'\n"
    )
    assert read_info(text)["SetDesc"] == "a # b: c"
    for encoding in ("latin-1", "utf-8"):
        (folder / "Toy.info").write_bytes(text.encode(encoding))
        assert read_lhagrid(folder).force_positive == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A: " + "[A: " * 100, "nested too deep"),
        ("a: [1\nb: }\n", "cannot be read as YAML"),
        ("- a\n- b\n", "not Key: value pairs"),
        ("Format: lhagrid1\nForcePositive: '\0'\n", "ForcePositive"),
    ],
)
def test_info_files_of_anybody(toy_set, tmp_path, text, message):
    folder = copied(toy_set, tmp_path)
    (folder / "Toy.info").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_lhagrid(folder)
    assert str(caught.value).isprintable()


def test_a_large_info_file_is_not_read(toy_set, tmp_path):
    folder = copied(toy_set, tmp_path)
    (folder / "Toy.info").write_bytes(b"A: [" * 1_000_000)
    with pytest.raises(InputError, match=r"Toy\.info: larger than 1000 kB"):
        read_lhagrid(folder)
