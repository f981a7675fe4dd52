"""Writing for people and for scripts: results to stdout, progress and errors to stderr."""

import itertools
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from realstack._core.clock import SYSTEM_CLOCK

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}
_PATIENCE_S = 0.5
_FRAME_S = 0.1
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_ERASE_LINE = "\r\x1b[K"


class Terminal:
    """Where a command writes; knows whether a person is looking."""

    def __init__(self, *, out: TextIO, err: TextIO, environ: Mapping[str, str]) -> None:
        self._out, self._err = out, err
        # https://no-color.org: set and not empty means none
        coloured = not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
        self._colour = {out: coloured and out.isatty(), err: coloured and err.isatty()}
        self._live = err.isatty() and environ.get("TERM") != "dumb"

    @classmethod
    def of_this_process(cls) -> "Terminal":
        """Return the one made of stdout, stderr and the environment."""
        from realstack.config import read_environment

        return cls(out=sys.stdout, err=sys.stderr, environ=read_environment())

    # --- results ------------------------------------------------------------------------------------------------------

    def line(self, text: str = "", style: str = "") -> None:
        """Write one line of the result."""
        self._write(self._out, text, style)

    def json(self, value: Any) -> None:
        """Write the whole result, for a script."""
        import json

        self.line(json.dumps(value, indent=2, ensure_ascii=False))

    def table(self, rows: Sequence[Sequence[str]], *, headers: Sequence[str] = ()) -> None:
        """Write *rows* in columns, the header dim."""
        every = [headers, *rows] if headers else list(rows)
        widths = [max(len(cell) for cell in column) for column in zip(*every, strict=True)]
        for row in every:
            text = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            self.line(text, "dim" if row is headers else "")

    # --- beside the result --------------------------------------------------------------------------------------------

    def say(self, text: str, style: str = "") -> None:
        """Write one line that is not part of the result."""
        self._write(self._err, text, style)

    def error(self, text: str) -> None:
        """Say what went wrong."""
        self.say(f"error: {text}", "red")

    @contextmanager
    def progress(self, what: str) -> Iterator[Callable[[str], None]]:
        """Say that *what* is going on once it takes longer than half a second: a moving line, or plain ones.

        Gives a function that is told what the present step is.
        """
        began, done, steps = SYSTEM_CLOCK.now_s(), threading.Event(), [what]
        teller = threading.Thread(target=self._tell, args=(steps, began, done), name="realstack-progress", daemon=True)
        teller.start()
        try:
            yield steps.append
        finally:
            done.set()
            teller.join()

    def _tell(self, steps: list[str], began: float, done: threading.Event) -> None:
        if done.wait(_PATIENCE_S):
            return
        if self._live:
            self._animate(steps, began, done)
        else:
            self._narrate(steps, began, done)

    def _animate(self, steps: list[str], began: float, done: threading.Event) -> None:
        for frame in itertools.cycle(_FRAMES):
            spent = SYSTEM_CLOCK.now_s() - began
            self._err.write(f"{_ERASE_LINE}{frame} {steps[-1]} ({spent:.0f} s)")
            self._err.flush()
            if done.wait(_FRAME_S):
                break
        self._err.write(_ERASE_LINE)
        self._err.flush()

    def _narrate(self, steps: list[str], began: float, done: threading.Event) -> None:
        told = 0
        while True:
            for step in steps[told:]:
                self.say(f"{step} ...", "dim")
                told += 1
            if done.wait(_FRAME_S):
                break
        self.say(f"{steps[0]}: {SYSTEM_CLOCK.now_s() - began:.1f} s", "dim")

    def _write(self, stream: TextIO, text: str, style: str) -> None:
        if style and self._colour[stream]:
            text = f"\x1b[{_STYLES[style]}m{text}\x1b[0m"
        stream.write(text + "\n")
        stream.flush()
