"""Text files of anybody: bounded, and read whatever their encoding and line ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from bayesxs.errors import InputError
from bayesxs.inputs.tables import MAX_LINE, column_names, read_columns, read_lines, read_text


def refuse(row: int, column: str, text: str | None, fault: str) -> InputError:
    return InputError.at("file", f"row {row}: {column}", text, fault)


def test_a_line_of_a_hundred_megabytes_is_refused_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    path.write_bytes(b"," * 100_000_000)
    for read in (lambda: column_names(path), lambda: list(read_columns(path, ["a"], refuse))):
        with pytest.raises(InputError, match=r"wide\.csv: larger than 64000 kB, too large for a"):
            read()
    path.write_bytes(b"," * (MAX_LINE + 1))
    with pytest.raises(InputError, match=r"line 1 = 100001 characters: at most 100000"):
        column_names(path)
    path.write_bytes(b"," * 2000)
    with pytest.raises(InputError, match=r"columns = 2001: at most 1000"):
        column_names(path)


def test_rows_with_more_cells_than_the_header_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "commas.csv"
    path.write_text("a,b\n1,2,,\n1,5,2,0\n")
    with pytest.raises(InputError, match="row 1: columns = 4: 2 as the header: no decimal commas"):
        list(read_columns(path, ["a", "b"], refuse))
    path.write_text("a,b\n1,2,,\n")
    assert list(read_columns(path, ["b", "a"], refuse)) == [[2.0, 1.0]]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_letters_and_line_ends_of_any_machine(tmp_path: Path, encoding: str, end: str) -> None:
    path = tmp_path / "table.csv"
    lines = ["a,Größe", "1,x\x0cy", "2,z"]
    path.write_bytes(end.join(lines).encode(encoding))
    assert list(read_lines(path, "a table")) == lines
    assert list(read_columns(path, ["a"], refuse)) == [[1.0], [2.0]]


def test_what_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    for content in ("a,b\n".encode("utf-16"), b"PK\x03\x04\x80"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="not a text file"):
            read_text(path, "a table")
    with pytest.raises(InputError, match="null byte"):
        read_text("a\0b", "a table")


def test_a_field_that_never_ends(tmp_path: Path) -> None:
    path = tmp_path / "quote.csv"
    path.write_text('a,b\n"' + "1\n" * 100_000)
    with pytest.raises(InputError, match="cannot be read as CSV: field larger"):
        list(read_columns(path, ["a"], refuse))
