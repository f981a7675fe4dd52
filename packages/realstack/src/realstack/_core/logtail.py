"""The last lines of a log file, for messages."""

import os
from pathlib import Path

_BYTES_PER_LINE = 400


def tail(log: Path, *, lines: int = 20, containing: str = "", since: int = 0) -> str:
    """Return the last *lines* lines of *log*, indented; says so when there are none.

    Args:
        log: read at most 400 bytes a line from its end, so that a log of gigabytes costs nothing.
        lines: how many at the most.
        containing: only lines with this in them.
        since: only what was written after the first *since* bytes.
    """
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(since, size - lines * _BYTES_PER_LINE * (8 if containing else 1)))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return "  (no log was written)"
    found = [line for line in text.splitlines() if containing in line][-lines:]
    return "\n".join(f"  {line}" for line in found) or "  (nothing was logged)"


def size_of(log: Path) -> int:
    """Return how many bytes *log* has; 0 when it does not exist."""
    try:
        return log.stat().st_size
    except FileNotFoundError:
        return 0
