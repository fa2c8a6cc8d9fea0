"""Messages: one line, printable, bounded, whatever the input holds."""

from __future__ import annotations

import pickle
import string

from hypothesis import given
from hypothesis import strategies as st

from bayesxs.errors import LINE, VALUE, InputError, shown

ANY_TEXT = st.text(st.characters(), max_size=1000) | st.sampled_from(
    [
        "\x1b[2J\x1b[31mred",
        "a\r\nb\x0b\x0c\x85\u2028c",
        "\u202eright to left",
        "\udcff",
        "\0" * 5000,
    ]
)


@given(source=ANY_TEXT, key=ANY_TEXT, value=ANY_TEXT, allowed=ANY_TEXT)
def test_a_message_is_one_bounded_printable_line(
    source: str, key: str, value: str, allowed: str
) -> None:
    for error in (InputError.at(source, key, value, allowed), InputError(source + value)):
        assert str(error).isprintable()
        assert len(str(error)) <= LINE
        assert str(InputError(str(error))) == str(error)
        assert str(pickle.loads(pickle.dumps(error))) == str(error)


@given(
    st.text(string.ascii_letters + " \\é", max_size=40), st.text("\n\r\t\x1b\0\x7f\x9b", max_size=5)
)
def test_a_short_text_can_be_read_back(plain: str, control: str) -> None:
    assert shown(plain) == plain
    escaped = shown(control)
    assert escaped.isprintable()
    assert escaped.encode().decode("unicode_escape") == control


@given(ANY_TEXT, st.integers(4, 200))
def test_a_long_text_keeps_both_ends(text: str, limit: int) -> None:
    cut = shown(text, limit)
    assert cut.isprintable()
    assert len(cut) <= limit
    whole = shown(text, 20_000)
    if cut != whole:
        head, tail = cut.split("...", 1) if "..." not in text else (cut[:1], cut[-1:])
        assert whole.startswith(head)
        assert whole.endswith(tail)
        assert len(cut) > limit - 20  # an escape has at most ten characters


def test_the_name_of_the_file_and_what_is_allowed_survive_a_long_path() -> None:
    path = "/data" + "/very-long-folder" * 30 + "/flux.csv"
    line = str(InputError.at(path, "row 3: nu_mu", "x" * 10_000, "a number"))
    assert "/flux.csv: row 3: nu_mu = xxx" in line
    assert line.endswith("x: a number")
    assert len(line) <= 80 + 2 + 12 + 3 + VALUE + 10


def test_values_that_python_does_not_write() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert shown(10**5000) == "(int too large to be shown)"
    assert shown(deep) == "(list too large to be shown)"
    while deep:  # taken apart by hand: its collection would recurse
        deep = deep.pop()  # type: ignore[assignment]
