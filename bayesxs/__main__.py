"""``python -m bayesxs``."""

from __future__ import annotations

from bayesxs.cli.main import main

main()
