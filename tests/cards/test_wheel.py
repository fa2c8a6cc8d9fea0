"""A wheel holds the bundled cards and weights."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
READ = """
from pathlib import Path
from safetensors import safe_open
import bayesxs
from bayesxs.cards.bundled import folder, names
place = Path(bayesxs.__file__).parent
assert folder() == place / "data" / "models", folder()
card = bayesxs.load_card("dune-toy")
weights = Path(card.network.weights)
assert weights.is_relative_to(place), weights
with safe_open(weights, "np") as file:
    assert file.keys()
print(*names())
"""


def test_bundled_cards_are_read_from_an_installed_wheel(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    built = [*pip, "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run(built, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    target = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(target), wheel], check=True)
    done = subprocess.run(
        [sys.executable, "-c", READ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == sorted(path.stem for path in (ROOT / "models").glob("*.toml"))
