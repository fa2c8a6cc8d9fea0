"""Whether this process was forked from one in which JAX computed: in such a process it would hang.

A fork copies the state of JAX without the threads that do its work.
"""

from __future__ import annotations

import os
import sys


def _jax_has_started() -> bool:
    bridge = sys.modules.get("jax._src.xla_bridge")
    return bridge is not None and bridge.backends_are_initialized()


def _threads() -> int:
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 0  # unknown here


# Where this package is imported after the fork, the threads of JAX that are missing tell. They are
# counted now: libraries that are imported later start threads of their own.
_forked = _jax_has_started() and _threads() == 1


def _note() -> None:
    global _forked
    _forked = _forked or _jax_has_started()


os.register_at_fork(after_in_child=_note)


def refuse_fork() -> None:
    """Refuse to compute in a process that was forked after JAX had started.

    Raises:
        InputError: this is such a process.
    """
    if _forked:
        from bayesxs.errors import InputError  # `import bayesxs` takes a few milliseconds only

        raise InputError(
            "this process was forked after JAX had started, and JAX would hang in it: start "
            'processes by "spawn", e.g. multiprocessing.get_context("spawn").Pool()'
        )
