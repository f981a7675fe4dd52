"""Schema and seed files of ClickHouse: run one statement after the other, an error names file and line."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from realstack.errors import ClickHouseRefused, SchemaFileFailed
from realstack.services.clickhouse.client import Client
from realstack.services.endpoint import Endpoint

_QUOTES = "'\"`"


def run_files(endpoint: Endpoint, files: Iterable[Path]) -> None:
    """Run every statement of *files* in the database of *endpoint*.

    Raises:
        SchemaFileFailed: a statement was refused; carries the file and the line it begins on.
    """
    client = Client(endpoint)
    try:
        for path in files:
            for line, statement in split_statements(path.read_text()):
                _run(client, path, line, statement)
    finally:
        client.close()


def split_statements(text: str) -> Iterator[tuple[int, str]]:
    """Give each statement of *text* with the line it begins on; ``;`` in quotes and comments does not end one."""
    begin = at = 0
    while at < len(text):
        if text.startswith("--", at):
            at = _after(text, "\n", at)
        elif text.startswith("/*", at):
            at = _after(text, "*/", at)
        elif text[at] in _QUOTES:
            at = _after_quoted(text, at)
        elif text[at] == ";":
            yield from _statement(text, begin, at)
            at = begin = at + 1
        else:
            at += 1
    yield from _statement(text, begin, len(text))


def _run(client: Client, path: Path, line: int, statement: str) -> None:
    try:
        client.execute(statement)
    except ClickHouseRefused as refused:
        raise SchemaFileFailed(
            path=str(path), line=line, sqlstate=f"code {refused.code}", message=refused.message
        ) from refused


def _after(text: str, end: str, at: int) -> int:
    found = text.find(end, at)
    return len(text) if found < 0 else found + len(end)


def _after_quoted(text: str, at: int) -> int:
    quote, at = text[at], at + 1
    while at < len(text) and text[at] != quote:
        at += 2 if text[at] == "\\" else 1
    return at + 1


def _statement(text: str, begin: int, end: int) -> Iterator[tuple[int, str]]:
    statement = text[begin:end]
    bare = statement.strip()
    if bare and not _is_comment(bare):
        blank = len(statement) - len(statement.lstrip())
        yield text.count("\n", 0, begin + blank) + 1, bare


def _is_comment(text: str) -> bool:
    return all(not line.strip() or line.strip().startswith("--") for line in text.splitlines())
