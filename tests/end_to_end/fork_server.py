"""Run `bayesxs` commands in forked processes, which start at once: everything is imported here.

Reads one JSON object a line: argv, cwd, stdout and stderr (paths), file_size (bytes or null).
Answers with the process's id, and with its exit status when it has ended.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import matplotlib.pyplot  # noqa: F401
from jax._src import xla_bridge

from bayesxs import api  # noqa: F401
from bayesxs.campaigns import run as campaigns  # noqa: F401
from bayesxs.cli import doctor, pdfsets  # noqa: F401
from bayesxs.cli.main import main
from bayesxs.runs import merging, pipeline  # noqa: F401


def run(order: dict[str, Any]) -> None:
    """Become the command."""
    os.chdir(order["cwd"])
    for stream, name in ((1, "stdout"), (2, "stderr")):
        target = os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(target, stream)
    if order["file_size"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["file_size"],) * 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["bayesxs", *order["argv"]]
    code: Any = 1
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def serve() -> None:
    """Carry out one order after the other until the input ends."""
    # A backend started before the fork would not work after it
    assert not xla_bridge.backends_are_initialized()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin:
        order = json.loads(line)
        Path(order["stdout"]).parent.mkdir(parents=True, exist_ok=True)
        process = os.fork()
        if process == 0:
            run(order)
        print(process, flush=True)
        print(os.waitpid(process, 0)[1], flush=True)


if __name__ == "__main__":
    serve()
