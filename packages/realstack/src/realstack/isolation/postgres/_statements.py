"""Splits SQL files as psql does: statements, COPY data after them, and the line each begins on."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

#: What can hide a semicolon, in the order it must be tried.
_TOKEN: Final = re.compile(
    r"""
    (?P<comment>--[^\n]*)
  | (?P<block>/\*)
  | (?P<escaped>\b[eE]'(?:[^'\\]|\\.|'')*')
  | (?P<string>'(?:[^']|'')*')
  | (?P<name>"(?:[^"]|"")*")
  | (?P<dollar>\$(?:[^\W\d]\w*)?\$)
  | (?P<word>[^\W\d][\w$]*)
  | (?P<mark>[();\\])
    """,
    re.VERBOSE | re.DOTALL,
)
_BLOCK_EDGE: Final = re.compile(r"/\*|\*/")
_COPY_IN: Final = re.compile(r"\s*COPY\b.*\bFROM\s+STDIN\b", re.IGNORECASE | re.DOTALL)
_COMMAND: Final = re.compile(r"\\[^\s;]*")
#: psql commands pg_dump writes that mean nothing to a server.
_HARMLESS: Final = frozenset({"\\restrict", "\\unrestrict"})


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of a file, or a psql command that only psql understands."""

    text: str
    #: Offset of its first character in the file.
    start: int
    #: What follows a ``COPY ... FROM stdin``, without the closing ``\\.``.
    data: str | None = None

    @property
    def is_command(self) -> bool:
        return self.text.startswith("\\")


def statements(text: str) -> Iterator[Statement]:
    """Yield the statements of *text* in order, comments between them left out."""
    at = _Scanner(text)
    while (found := at.next_statement()) is not None:
        yield found


def line_of(text: str, offset: int) -> int:
    """Return the line, from 1, that *offset* lies on."""
    return text.count("\n", 0, offset) + 1


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def next_statement(self) -> Statement | None:
        text = self._text
        start, depth, words = -1, 0, _Body()
        while token := _TOKEN.search(text, self._at):
            kind = token.lastgroup
            between = text[self._at : token.start()]
            if start < 0 and (strip := between.lstrip()):
                start = token.start() - len(strip)
            self._at = token.end()
            if kind == "comment":
                continue
            if kind == "block":
                self._skip_block()
                continue
            if start < 0 and token.group() == "\\":
                if command := self._command(token.start()):
                    return command
                continue
            if token.group() == ";" and depth == 0 and not words.is_open:
                if start < 0:
                    continue
                return self._finish(start, token.start())
            start = token.start() if start < 0 else start
            depth = self._step(kind or "", token.group(), depth, words)
        return self._rest(start)

    def _step(self, kind: str, text: str, depth: int, words: "_Body") -> int:
        if kind == "dollar":
            end = self._text.find(text, self._at)
            self._at = len(self._text) if end < 0 else end + len(text)
        elif kind == "word":
            words.see(text.upper())
        return depth + (text == "(") - (text == ")" and depth > 0)

    def _rest(self, start: int) -> Statement | None:
        tail = self._text[self._at :]
        if start < 0 and (strip := tail.lstrip()):
            start = len(self._text) - len(strip)
        self._at = len(self._text)
        return None if start < 0 else Statement(self._text[start:].rstrip(), start)

    def _skip_block(self) -> None:
        depth = 1
        while depth and (edge := _BLOCK_EDGE.search(self._text, self._at)):
            depth += 1 if edge.group() == "/*" else -1
            self._at = edge.end()
        if depth:
            self._at = len(self._text)

    def _command(self, start: int) -> Statement | None:
        found = _COMMAND.match(self._text, start)
        name = found.group() if found else "\\"
        self._at = self._end_of_line()
        return None if name in _HARMLESS else Statement(name, start)

    def _finish(self, start: int, end: int) -> Statement:
        statement = self._text[start:end]
        if not _COPY_IN.match(statement):
            return Statement(statement, start)
        self._at = begin = min(self._end_of_line() + 1, len(self._text))
        end = begin if self._text.startswith("\\.", begin) else self._text.find("\n\\.", begin) + 1
        if end == 0:
            self._at = len(self._text)
            return Statement(statement, start, self._text[begin:])
        self._at = end
        self._at = self._end_of_line()
        return Statement(statement, start, self._text[begin:end])

    def _end_of_line(self) -> int:
        end = self._text.find("\n", self._at)
        return len(self._text) if end < 0 else end


class _Body:
    """Watches for ``BEGIN ATOMIC ... END``, whose semicolons end nothing; CASE has an END of its own."""

    def __init__(self) -> None:
        self._last, self._depth = "", 0

    @property
    def is_open(self) -> bool:
        return self._depth > 0

    def see(self, word: str) -> None:
        if (word == "ATOMIC" and self._last == "BEGIN") or (self._depth and word == "CASE"):
            self._depth += 1
        elif self._depth and word == "END":
            self._depth -= 1
        self._last = word
