"""``python -m bayesxs``."""

from __future__ import annotations

from bayesxs.app.cli import main

main()
