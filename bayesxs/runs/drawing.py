"""Figures drawn side by side: processes that draw some of them while this one draws others.

Each is a plain `python -m` of this module. Forked ones would inherit JAX's threads, and processes
of `multiprocessing` would run the user's script once more. They never import JAX.
"""

from __future__ import annotations

import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Self

from matplotlib.figure import Figure

from bayesxs.report.style import to_png
from bayesxs.session import available_cores

# More of them would read the run's files more often than they draw
MOST_DRAWERS = 3

_LENGTH = struct.Struct("<Q")  # of an image, before it


class Drawers:
    """Processes that draw figures; none of them on a single core."""

    def __init__(self, most: int = MOST_DRAWERS) -> None:
        """Start nothing yet.

        Args:
            most: number of processes, if there are cores for them beside this one.
        """
        self._number = min(most, available_cores() - 1)
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start the processes, unless they are there: what they import takes a second or two."""
        while len(self._processes) < self._number:
            try:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-m", __spec__.name],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )
            except OSError:  # no more processes: this one draws
                self._number = len(self._processes)
            else:
                self._processes.append(process)

    def draw(
        self,
        folder: Path,
        figures: Mapping[str, Callable[[], Figure]],
        update: Callable[[int, str], None],
    ) -> dict[str, bytes]:
        """Return the figures of a run's folder as PNG, by their stems.

        What a process does not return is drawn here, so that errors are raised here too.

        Args:
            folder: of the run.
            figures: how to draw each here.
            update: called with the number of figures that are there, and a stem.
        """
        left, images = deque(figures), dict[str, bytes]()
        threads = [
            threading.Thread(target=_ask, args=(process, folder, left, images), daemon=True)
            for process in self._processes
        ]
        for thread in threads:
            thread.start()
        while len(images) < len(figures):
            try:
                stem = left.pop()
            except IndexError:  # the last ones are in work elsewhere
                while not left and any(thread.is_alive() for thread in threads):
                    for thread in threads:
                        thread.join(0.02)
                if not left and len(images) < len(figures):
                    left.extend(stem for stem in figures if stem not in images)
                continue
            images[stem] = to_png(figures[stem]())
            update(len(images), stem)
        return {stem: images[stem] for stem in figures}

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.kill()
            process.communicate()
        self._processes.clear()

    def __enter__(self) -> Self:
        """Start nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes."""
        self.close()


def _ask(
    process: subprocess.Popen[bytes], folder: Path, left: deque[str], images: dict[str, bytes]
) -> None:
    """Let a process draw what is left, until nothing is, or it fails."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        _send(process.stdin, str(folder))
        while True:
            stem = left.popleft()
            _send(process.stdin, stem)
            (length,) = _LENGTH.unpack(process.stdout.read(_LENGTH.size))
            image = process.stdout.read(length)
            if len(image) < length:
                return
            images[stem] = image
    except (OSError, IndexError, struct.error, ValueError):
        return  # nothing is left, or the process has ended


def _send(stream: BinaryIO | Any, text: str) -> None:
    stream.write(text.encode("utf-8", "surrogateescape") + b"\0")
    stream.flush()


def _received(stream: BinaryIO) -> str | None:
    """Return the next text, None at the end."""
    text = bytearray()
    while (byte := stream.read(1)) != b"\0":
        if not byte:
            return None
        text += byte
    return text.decode("utf-8", "surrogateescape")


def main() -> None:
    """Draw the figures that are asked for: first a folder, then stems, each ended by a zero."""
    from bayesxs.runs.figures import figures
    from bayesxs.storage.run_folder import RunFolder

    folder = _received(sys.stdin.buffer)
    drawn = {} if folder is None else dict(figures(RunFolder.view(folder)))
    while (stem := _received(sys.stdin.buffer)) is not None:
        image = to_png(drawn[stem]())
        sys.stdout.buffer.write(_LENGTH.pack(len(image)) + image)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
