"""What a command writes: results and remarks apart, colour for a terminal alone, progress only when it takes long."""

import io
import os
import pty
import re
import threading
from collections.abc import Iterator
from typing import TextIO

import pytest

from realstack.cli.terminal import Terminal


class Screen:
    """A real terminal, read from its other end."""

    def __init__(self) -> None:
        self._reader, writer = pty.openpty()
        self.stream: TextIO = os.fdopen(writer, "w", encoding="utf-8")

    def text(self) -> str:
        """Hang up and return everything that was written."""
        self.stream.close()
        found = b""
        while True:
            try:
                chunk = os.read(self._reader, 65536)
            except OSError:  # Linux says EIO at the end
                chunk = b""
            if not chunk:
                os.close(self._reader)
                return found.decode()
            found += chunk


@pytest.fixture
def screen() -> Iterator[Screen]:
    return Screen()


def test_colour_is_for_a_terminal(screen: Screen) -> None:
    file = io.StringIO()
    terminal = Terminal(out=screen.stream, err=file, environ={"TERM": "xterm"})

    terminal.line("good", "green")
    terminal.error("bad")

    assert screen.text() == "\x1b[32mgood\x1b[0m\r\n"
    assert file.getvalue() == "error: bad\n"


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1", "TERM": "xterm"}, {"TERM": "dumb"}])
def test_colour_can_be_switched_off(screen: Screen, environ: dict[str, str]) -> None:
    Terminal(out=screen.stream, err=io.StringIO(), environ=environ).line("plain", "green")

    assert screen.text() == "plain\r\n"


def test_an_empty_no_color_says_nothing(screen: Screen) -> None:
    Terminal(out=screen.stream, err=io.StringIO(), environ={"NO_COLOR": "", "TERM": "xterm"}).line("x", "red")

    assert "\x1b[31m" in screen.text()


def test_progress_is_silent_when_it_is_quick() -> None:
    out, err = io.StringIO(), io.StringIO()

    with Terminal(out=out, err=err, environ={}).progress("quick"):
        pass

    assert (out.getvalue(), err.getvalue()) == ("", "")


class Told(io.StringIO):
    """A stream that says when a text has been written to it."""

    def __init__(self, awaited: str) -> None:
        super().__init__()
        self._awaited, self.written = awaited, threading.Event()

    def flush(self) -> None:
        if self._awaited in self.getvalue():
            self.written.set()


def test_slow_progress_is_told_in_plain_lines_to_a_file() -> None:
    err = Told("fetching it ...")

    with Terminal(out=io.StringIO(), err=err, environ={}).progress("installing") as tell:
        tell("fetching it")
        assert err.written.wait(10)

    lines = err.getvalue().splitlines()
    assert lines[:2] == ["installing ...", "fetching it ..."]
    assert re.fullmatch(r"installing: \d+\.\d s", lines[2])


def test_slow_progress_moves_on_a_terminal_and_leaves_nothing_behind(screen: Screen) -> None:
    released = threading.Event()
    write = screen.stream.write

    def watched(text: str) -> int:
        if "starting" in text:
            released.set()
        return write(text)

    screen.stream.write = watched  # type: ignore[method-assign]  # to know when the line was drawn

    with Terminal(out=io.StringIO(), err=screen.stream, environ={"TERM": "xterm"}).progress("starting"):
        assert released.wait(10)

    text = screen.text()
    assert "starting (" in text
    assert text.endswith("\r\x1b[K")
    assert "\n" not in text


def test_a_table_is_aligned_and_ends_no_line_with_blanks() -> None:
    out = io.StringIO()

    Terminal(out=out, err=io.StringIO(), environ={}).table([("a", "bb", ""), ("ccc", "d", "e")], headers=("X", "Y", ""))

    assert out.getvalue().splitlines() == ["X    Y", "a    bb", "ccc  d   e"]
