"""Settings that precede the start of JAX: precision, host devices, compilation cache, log noise."""

from __future__ import annotations

import gc
import hashlib
import logging
import os
import platform
import warnings
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from types import ModuleType

from bayesxs.errors import InputError
from bayesxs.fork import refuse_fork

# Devices that the CPU of a run shows at least. Their number sets that of the threads of XLA, and
# with it the order of sums and so rounding: runs of up to so many chains round alike
LEAST_DEVICES = 4

# Objects between two searches for garbage. Tracing makes millions that live on, and Python's own
# choice looks through them again and again: an eighth of a small run
_YOUNG_OBJECTS = 100_000

_DEVICE_COUNT = "--xla_force_host_platform_device_count"

# Compiled programs of all versions together are cut to so many bytes; a default run leaves 20 MB
CACHE_BOUND = 500_000_000
_KEPT = 0.8  # part of the bound that is left, so that not every start has to remove something

# JAX's own variables: another folder, which is then left alone, and whether programs are kept
CACHE_VARIABLE, CACHE_SWITCH = "JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"


def prepare_run(chains: int) -> None:
    """Set JAX up for a run of so many chains; call it before anything computes."""
    prepare_jax(max(chains, LEAST_DEVICES))


def prepare_jax(chains: int = 1) -> None:
    """Set JAX up for a run of `chains` chains, and start it; call it before anything computes.

    Double precision is switched on. The CPU shows one device per chain, without which NumPyro runs
    them one after another. Compiled programs are kept in the user's cache folder, so that a second
    run compiles nothing; of a folder larger than `CACHE_BOUND` the least recently used are removed.
    Python looks for garbage less often.
    What the user's own environment variables say is left as it is.

    Raises:
        InputError: this process was forked from one in which JAX had started; an environment
            variable asks of JAX what it does not know or what is not there.
    """
    refuse_fork()
    collect_seldom()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    flags = os.environ.get("XLA_FLAGS", "")
    if _DEVICE_COUNT not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {_DEVICE_COUNT}={min(chains, 64)}".strip()
    logging.getLogger("jax._src.xla_bridge").setLevel(logging.ERROR)
    # A cache that cannot be written, or that a kill left half-written, costs time only
    for fault in ("reading", "writing"):
        warnings.filterwarnings("ignore", f"Error {fault} persistent compilation cache")

    try:
        import jax
    except ValueError as error:  # a variable of a value that JAX does not take
        raise InputError(f"environment: JAX cannot start: {error}") from None

    jax.config.update("jax_enable_x64", True)
    # A model's set-up compiles hundreds of small programs, and together they take many seconds
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    if CACHE_VARIABLE not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(compilation_cache()))
        if jax.config.jax_enable_compilation_cache:
            prune(compilation_cache().parent)
    _start(jax)


def collect_seldom() -> None:
    """Let Python search for garbage less often, unless it searches more seldom already."""
    young, *older = gc.get_threshold()
    if 0 < young < _YOUNG_OBJECTS:
        gc.set_threshold(_YOUNG_OBJECTS, *older)


def enable_x64() -> None:
    """Switch on JAX's double precision, which likelihoods need, and keep compiled programs.

    Call it before anything else computes. The CPU shows four devices if JAX has not started yet,
    so that four chains run side by side. Compiled programs are kept in the user's cache folder, up
    to 500 MB; `JAX_COMPILATION_CACHE_DIR` names another one, `JAX_ENABLE_COMPILATION_CACHE=false`
    keeps none.

    Raises:
        InputError: this process was forked from one in which JAX had started; an environment
            variable asks of JAX what it does not know or what is not there.

    Example:
        >>> bayesxs.enable_x64()
        >>> import jax.numpy as jnp
        >>> jnp.zeros(1).dtype
        dtype('float64')
    """
    prepare_jax(LEAST_DEVICES)


def _start(jax: ModuleType) -> None:
    """Start JAX on the platform that the user's environment asks for.

    Raises:
        InputError: it is not there.
    """
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        asked = jax.config.jax_platforms
        if asked:
            allowed = "JAX finds no such platform here: unset it, or JAX_PLATFORMS=cpu"
            raise InputError.at("environment", "JAX_PLATFORMS", asked, allowed) from None
        raise InputError(f"JAX cannot start: {error}") from None


def available_cores() -> int:
    """Return how many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def compilation_cache() -> Path:
    """Return the folder for compiled programs, one for each JAX version and kind of processor.

    A home folder may be shared by machines that do not run each other's instructions.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    maker = f"{metadata.version('jaxlib')}-{platform.machine()}-{_processor_features()}"
    return Path(base) / "bayesxs" / "jax" / maker


def programs(folder: Path) -> list[tuple[float, int, Path]]:
    """List the compiled programs below a folder: time of their last use, bytes, and place.

    Use is known as well as the file system notes when a file was read, often to a day.
    """
    found = []
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # another process may have removed it
                status = os.stat(path := Path(place) / name, follow_symlinks=False)
                found.append((max(status.st_atime, status.st_mtime), status.st_size, path))
    return found


def prune(folder: Path, bound: int = CACHE_BOUND) -> None:
    """Remove compiled programs, the least recently used first, from a folder above its bound."""
    found = sorted(programs(folder))
    excess = sum(size for _, size, _ in found)
    if excess <= bound:
        return
    excess -= int(_KEPT * bound)
    for _, size, path in found:
        if excess <= 0:
            break
        with suppress(OSError):
            path.unlink()
        excess -= size


def _processor_features() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    # "Features" is what ARM calls them
    flags = sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))})
    return hashlib.sha256("\n".join(flags or [platform.processor()]).encode()).hexdigest()[:12]
