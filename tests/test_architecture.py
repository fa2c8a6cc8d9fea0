"""The rooms and their import order, and what no project file may hold."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "bayesxs"
FOLDERS = (".ci", "bayesxs", "benchmarks", "docs", "models", "notebooks", "tests")
MADE_BY_TOOLS = {"__pycache__", ".ipynb_checkpoints"}

# One letter of each stands in brackets, so that this file does not find itself
FORBIDDEN = re.compile(
    rb"(?<![\w.~/-])/(?:[h]ome|[r]oot|[U]sers|[t]mp|[w]ork|[o]pt|[m]nt)/\w|[f]ile:///\w"
    rb"|[p]ypi\.org|[p]ythonhosted|[a]naconda\.org|[n]pmjs\.|[d]eb\.debian"
)


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the contracts of `pyproject.toml` on the package that lies in a folder."""
    command = [Path(sysconfig.get_path("scripts")) / "lint-imports", "--no-cache", "--no-logo"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def project_files() -> Iterator[Path]:
    yield from (path for path in ROOT.iterdir() if path.is_file())
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and not MADE_BY_TOOLS.intersection(path.parts):
                yield path


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Copy what the contracts read."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(PACKAGE, tmp_path / "bayesxs", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_contracts_are_kept() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "imported", "contract"),
    [
        ("inputs/pdf.py", "bayesxs.physics.kinematics", "A room imports only rooms above it"),
        ("constants.py", "bayesxs.errors", "A room imports only rooms above it"),
        ("physics/kinematics.py", "bayesxs.cards.card", "A room imports only rooms above it"),
        ("inference/model.py", "bayesxs.inputs.flux", "Inference takes densities"),
        ("cards/presets.py", "jax", "Cards and run folders are checked before JAX starts"),
    ],
)
def test_contracts_catch(copy: Path, module: str, imported: str, contract: str) -> None:
    path = copy / "bayesxs" / module
    path.write_text(f"{path.read_text()}\nimport {imported}\n")
    done = lint_imports(copy)
    assert done.returncode == 1
    broken = [line for line in done.stdout.splitlines() if line.endswith("BROKEN")]
    assert len(broken) == 1
    assert broken[0].startswith(contract)


def test_contracts_catch_a_module_without_a_place(copy: Path) -> None:
    (copy / "bayesxs" / "helpers.py").touch()
    done = lint_imports(copy)
    assert done.returncode == 1
    assert "helpers" in done.stdout


def test_rooms_have_empty_inits() -> None:
    inits = [path for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE]
    assert len(inits) >= 8
    assert [str(path) for path in inits if path.read_text().strip()] == []


def test_every_room_is_a_package() -> None:
    folders = {path.parent for path in PACKAGE.rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


def too_large(text: str) -> list[str]:
    """Name the kinds of bounds that a module exceeds, once for each time."""
    found = ["module"] if len(text.splitlines()) > 400 else []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            a = node.args
            named = len(a.posonlyargs) + len(a.args) + len(a.kwonlyargs)
            if (node.end_lineno or node.lineno) - node.lineno + 1 > 60:
                found.append("function")
            if named + bool(a.vararg) + bool(a.kwarg) > 8:
                found.append("parameters")
    return found


# Modules over 400 lines, functions over 60, functions of more than 8 parameters: lower these, do
# not raise them
@pytest.mark.parametrize(("kind", "most"), [("module", 6), ("function", 4), ("parameters", 4)])
def test_few_modules_and_functions_are_large(kind: str, most: int) -> None:
    found = [
        str(path.relative_to(ROOT))
        for path in sorted(PACKAGE.rglob("*.py"))
        for what in too_large(path.read_text())
        if what == kind
    ]
    assert len(found) <= most, found


def test_large_modules_and_functions_are_found() -> None:
    assert too_large("x = 1\n" * 400) == []
    assert too_large("x = 1\n" * 401) == ["module"]
    assert too_large("def f():\n" + "    x = 1\n" * 59) == []
    assert too_large("def f():\n" + "    x = 1\n" * 60) == ["function"]
    assert too_large("def f(a, b, c, d, /, e, f, *g, h): ...") == []
    assert too_large("async def f(a, b, c, d, e, f, *g, h, **k): ...") == ["parameters"]


def test_no_file_names_a_machine_or_a_registry() -> None:
    files = list(project_files())
    assert PACKAGE / "errors.py" in files
    found = {
        str(path.relative_to(ROOT)): match.group().decode()
        for path in files
        if (match := FORBIDDEN.search(path.read_bytes()))
    }
    assert found == {}


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("open('/{}/someone/card.toml')", "home"),
        ("see /{}/run", "root"),
        ("{}:///data", "file"),
        ("--index-url https://{}.org/simple", "pypi"),
    ],
)
def test_the_search_finds_machines_and_registries(line: str, found: str) -> None:
    assert FORBIDDEN.search(line.format(found).encode())


@pytest.mark.parametrize(
    "line", ["#!/usr/bin/env bash", "https://github.com/work/tmp/x", "a/home/b", "arXiv 2412.16303"]
)
def test_the_search_spares_ordinary_text(line: str) -> None:
    assert not FORBIDDEN.search(line.encode())
