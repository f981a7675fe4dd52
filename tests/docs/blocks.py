"""Code blocks of Markdown pages, and what each kind is for.

A page is a small project. A block whose first line is a comment with a file name is that file; the others are commands.
"""

import dataclasses
import re
from pathlib import Path

#: Kinds that become files when their first line names one.
FILE_KINDS = frozenset({"python", "toml", "sql", "ini", "yaml"})
#: Kinds that are run: commands, and commands with what they print.
COMMAND_KINDS = frozenset({"sh", "console"})
#: Not code: words of a machine that no command on the page prints.
TEXT_KINDS = frozenset({"text"})

_FENCE = re.compile(r"^```(?P<kind>[^\n]*)\n(?P<body>.*?)^```\s*$", re.MULTILINE | re.DOTALL)
_FILE_NAME = re.compile(r"^(?:#|--)\s*(?P<name>[\w./-]+\.\w+)\s*$")


@dataclasses.dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: Path
    line: int
    kind: str
    body: str

    @property
    def file_name(self) -> str | None:
        """The file it is, when its first line says so."""
        found = _FILE_NAME.match(self.body.partition("\n")[0])
        return found["name"] if found and self.kind in FILE_KINDS else None

    def __str__(self) -> str:
        return f"{self.page}:{self.line} ({self.kind or 'no kind'})"


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of *page*, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, found["kind"].strip(), found["body"])
        for found in _FENCE.finditer(text)
    ]
