"""The last lines of a log file, for messages."""

import os
from pathlib import Path

_BYTES_PER_LINE = 400


def tail(log: Path, *, lines: int = 20, containing: str = "") -> str:
    """Return the last *lines* lines of *log* (those with *containing* in them), indented; says so when there are none.

    Reads at most 400 bytes a line from the end, so that a log of gigabytes costs nothing.
    """
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - lines * _BYTES_PER_LINE * (8 if containing else 1)))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return "  (no log was written)"
    found = [line for line in text.splitlines() if containing in line][-lines:]
    return "\n".join(f"  {line}" for line in found) or "  (the log is empty)"
