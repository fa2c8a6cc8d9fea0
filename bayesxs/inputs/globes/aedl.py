"""The syntax of GLoBES's experiment files (AEDL): text to named tokens, and these to values.

A file is a sequence of

    include "file"            NAME = 1.5 * OTHER        $variable = {1, 2}        %list = {0.1, 0.2}
    kind(#name)< @entry = value @entry = value >

with comments /* so */ and // so. Values stay tokens until somebody asks for a number, a list or a
name (`bayesxs.inputs.globes.values`). Nothing is executed: arithmetic is + - * / ^ of numbers and
of names that stand before it. Files come from anywhere: their sizes and numbers are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from bayesxs.errors import InputError
from bayesxs.inputs.globes.values import Token, Value
from bayesxs.inputs.tables import read_text

MAX_BYTES: Final = 8_000_000  # of a file
MAX_TOTAL: Final = 64_000_000  # of all files together
MAX_FILES: Final = 500
MAX_DEPTH: Final = 20  # of includes in includes

CONTENT: Final = "GLoBES's experiment description (AEDL)"

# A list of plain numbers is one token: matrices hold 1e5 of them
_TOKEN: Final = re.compile(
    r"""\s+
    | //[^\n]* | (?P<comment>/\*)
    | (?P<token>
        "[^"\n]*"
      | \{[\s\d.,eE+\-]*\}
      | (?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?
      | [$%#@]?[A-Za-z_]\w*
      | [][{}()<>:;,=+\-*/^@|]
      )""",
    re.VERBOSE | re.ASCII,
)
_NAME: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_MAGIC: Final = "%!GLoBES"


@dataclass
class Environment:
    """The entries between the angles of kind(#name)<...>."""

    kind: str
    name: str
    place: str
    entries: dict[str, Value] = field(default_factory=dict)


@dataclass
class Aedl:
    """All that a file and those that it includes hold.

    Attributes:
        path: of the file.
        variables: by name with its mark, as in $emin.
        lists: by name with its mark, as in %list.
        definitions: numbers by name.
        environments: by kind and name.
    """

    path: Path
    variables: dict[str, Value] = field(default_factory=dict)
    lists: dict[str, Value] = field(default_factory=dict)
    definitions: dict[str, float] = field(default_factory=dict)
    environments: dict[tuple[str, str], Environment] = field(default_factory=dict)
    _sizes: list[int] = field(default_factory=list)

    @classmethod
    def read(cls, path: str | Path, *, main: bool = True) -> Self:
        """Read a file with all that it includes.

        Args:
            path: the file; others are found from its folder.
            main: whether it must say that it is a description, rather than a part of one.

        Raises:
            InputError: naming file and line of what is wrong.
        """
        found = cls(Path(path))
        found._read(found.path, 0, main)
        return found

    def of_kind(self, *kinds: str) -> list[Environment]:
        """Return the environments of some kinds, in the order of the file."""
        return [e for (kind, _), e in self.environments.items() if kind in kinds]

    def inside(self, name: str, value_place: str, key: str) -> Path:
        """Return the path of a file that this one names, which lies in its folder.

        Raises:
            InputError: it lies elsewhere, or is no plain file.
        """
        folder = self.path.parent
        found = folder / name
        if not name or "\0" in name or not found.resolve().is_relative_to(folder.resolve()):
            raise InputError.at(value_place, key, name, f"a file in the folder {folder}")
        if not found.is_file():
            raise InputError.at(value_place, key, name, f"a file: there is no {found}")
        return found

    def _read(self, path: Path, depth: int, main: bool) -> None:
        text = read_text(path, CONTENT, MAX_BYTES)
        self._sizes.append(len(text))
        if sum(self._sizes) > MAX_TOTAL or len(self._sizes) > MAX_FILES or depth > MAX_DEPTH:
            allowed = f"at most {MAX_FILES} files of {MAX_TOTAL // 1_000_000} MB, {MAX_DEPTH} deep"
            raise InputError.at(path, "include", len(self._sizes), allowed)
        if main and not text.lstrip().startswith(_MAGIC):
            shown = text.lstrip()[:20]
            raise InputError.at(path, "first line", shown, f"{_MAGIC}, as in {CONTENT}")
        self._take(list(_tokens(path, text)), depth)

    def take(self, text: str) -> None:
        """Take the items of a text, as if the file held it.

        Raises:
            InputError: as `read`.
        """
        self._take(list(_tokens(self.path, text)), 0)

    def _take(self, tokens: list[Token], depth: int) -> None:
        at = 0
        while at < len(tokens):
            at = self._item(tokens, at, depth)

    def _item(self, tokens: list[Token], at: int, depth: int) -> int:
        """Take one item, and return where the next begins."""
        token = tokens[at]
        following = tokens[at + 1].text if at + 1 < len(tokens) else ""
        if token.text == ";":
            return at + 1
        if token.text == "include" and following.startswith('"'):
            name = following[1:-1]
            path = self.inside(name, token.place, "include")
            self._read(path, depth + 1, main=False)
            return at + 2
        if following == "=" and not token.text.startswith(("@", "#")):
            end = _end_of_item(tokens, at + 2)
            value = Value(token, tokens[at + 2 : end], self.definitions, self.lists)
            if token.text.startswith("$"):
                self.variables[token.text] = value
            elif token.text.startswith("%"):
                self.lists[token.text] = value
            else:
                self.definitions[token.text] = value.number()
            return end
        if following == "(" and _NAME.fullmatch(token.text):
            return self._environment(tokens, at)
        allowed = "include, NAME =, $variable =, %list = or kind(#name)<...>"
        raise InputError.at(token.place, "word", token.text, allowed)

    def _environment(self, tokens: list[Token], at: int) -> int:
        head = tokens[at]
        texts = [token.text for token in tokens[at + 2 : at + 5]]
        if len(texts) < 3 or not texts[0].startswith("#") or texts[1:] != [")", "<"]:
            raise InputError.at(head.place, head.text, "".join(texts), f"{head.text}(#name)<...>")
        key = (head.text, texts[0][1:])
        environment = self.environments.setdefault(key, Environment(*key, head.place))
        at += 5
        while at < len(tokens) and tokens[at].text != ">":
            entry = tokens[at]
            if entry.text in (";", ","):
                at += 1
                continue
            if not _is_entry(tokens, at):
                where = f"{head.text} {key[1]}"
                raise InputError.at(entry.place, where, entry.text, "@entry = ...")
            end = at + 2
            while (
                end < len(tokens)
                and tokens[end].text not in (">", ";")
                and not _is_entry(tokens, end)
            ):
                end += 1
            value = tokens[at + 2 : end]
            environment.entries[entry.text] = Value(entry, value, self.definitions, self.lists)
            at = end
        if at == len(tokens):
            raise InputError.at(head.place, f"{head.text} {key[1]}", "(no end)", "closed by >")
        return at + 1


def _tokens(path: Path, text: str) -> Iterator[Token]:
    """Yield the tokens of a text."""
    at, line = 0, 1
    start = len(text) - len(text.lstrip())
    if text.startswith(_MAGIC, start):
        at = text.find("\n", start)
        at = len(text) if at < 0 else at
        line += text.count("\n", 0, at)
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            shown = text[at : at + 20].split("\n")[0]
            raise InputError.at(path, f"line {line}", shown, f"a word of {CONTENT}")
        end = found.end()
        if found["comment"]:
            end = text.find("*/", end) + 2
            if end == 1:
                raise InputError.at(path, f"line {line}", "/*", "a comment that is closed by */")
        elif found["token"]:
            yield Token(found["token"], path, line)
        line += text.count("\n", at, end)
        at = end


def _end_of_item(tokens: list[Token], at: int) -> int:
    """Return where the item after that at a place begins."""
    depth = 0
    while at < len(tokens):
        text = tokens[at].text
        following = tokens[at + 1].text if at + 1 < len(tokens) else ""
        begins = following == "=" or (text == "include" and following.startswith('"'))
        named = following == "(" and at + 2 < len(tokens) and tokens[at + 2].text.startswith("#")
        if depth == 0 and (begins or named or text == ";"):
            break
        depth += (text in "({") - (text in ")}")
        at += 1
    return at


def _is_entry(tokens: list[Token], at: int) -> bool:
    text = tokens[at].text
    following = tokens[at + 1].text if at + 1 < len(tokens) else ""
    return text.startswith("@") and len(text) > 1 and following == "="
