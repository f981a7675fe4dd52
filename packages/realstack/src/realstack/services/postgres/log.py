"""The server's log for people: its last lines, those of one database when asked, secrets masked."""

import os
import re
from pathlib import Path

from realstack._core.secret import MASK, mask_url

_BYTES_PER_LINE = 400
#: What PostgreSQL's grammar puts before a literal that is a secret.
_AFTER_WORD = r"(?i)\b(password\s*=?\s*)(E?'(?:[^'\\]|''|\\.)*')"
#: A line that begins a message of settings.LOG_LINE_PREFIX.
_MESSAGE = r"^\d{4}-\d\d-\d\d [\d:.]+ \S+ \[\d+\] db=(\S*) session=\S* app="


def tail(log: Path, *, lines: int = 20, database: str | None = None, since_bytes: int = 0) -> str:
    """Return the last lines of *log*, indented; says so when there are none.

    Args:
        log: the server's log; a log of gigabytes costs no more than a small one.
        lines: how many.
        database: only messages of this database, and those in which the server itself says it is in trouble.
        since_bytes: size the log had before what is of interest.
    """
    try:
        text = _end_of(log, since=since_bytes, most=lines * _BYTES_PER_LINE * (1 if database is None else 16))
    except OSError as error:
        return f"  (no log: {error.strerror})"
    found = text.splitlines()
    if database is not None:
        found = _of_database(found, database)
    return "\n".join(f"  {mask_secrets(line)}" for line in found[-lines:]) or "  (the log is empty)"


def mask_secrets(line: str) -> str:
    """Return *line* without the passwords in statements, URLs and connection strings."""
    line = re.sub(_AFTER_WORD, rf"\1'{MASK}'", line)
    line = re.sub(r"\S+://\S+", lambda url: mask_url(url.group()), line)
    return re.sub(r"(?i)\b(password=)(?!')[^\s']+", rf"\1{MASK}", line)


def _end_of(log: Path, *, since: int, most: int) -> str:
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(since, size - most))
        text = file.read().decode(errors="replace")
    # what is left of a line that was cut makes no sense
    return text.partition("\n")[2] if size - since > most else text


def _of_database(lines: list[str], database: str) -> list[str]:
    """Keep the messages of *database*, with the lines that continue them."""
    kept: list[str] = []
    keeping = False
    for line in lines:
        begins = re.match(_MESSAGE, line)
        if begins:
            keeping = begins[1] == database or (not begins[1] and _is_trouble(line))
        if keeping:
            kept.append(line)
    return kept


def _is_trouble(line: str) -> bool:
    return any(word in line for word in ("FATAL:", "PANIC:", "was terminated by signal", "in recovery mode"))
