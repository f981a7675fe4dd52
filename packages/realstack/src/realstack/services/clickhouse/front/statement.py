"""Just enough of ClickHouse's lexis to see what a statement is aimed at.

What a statement *does* is told by the engine's own parser (``classify_query``); this reads only names: the table of an
INSERT, the format at the end of a SELECT. Where the words do not settle it, the caller assumes the worst.
"""

import itertools
import re
from collections.abc import Iterator

_TOKEN = re.compile(
    rb"(?P<blank>\s+|--[^\n]*|#[ !][^\n]*|/\*.*?\*/)"
    rb"|'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"|`(?:[^`\\]|\\.|``)*`"
    rb"|(?P<tag>\$\w*\$).*?(?P=tag)"
    rb"|[A-Za-z_]\w*|\d[\w.]*|.",
    re.DOTALL,
)
_ESCAPE = re.compile(rb"\\(.)|(``|\"\")", re.DOTALL)
_BARE = re.compile(rb"[A-Za-z_]\w*")
_DATABASE_END = (b"", b";", b"ENGINE", b"ON", b"COMMENT", b"SETTINGS", b"SYNC", b"NO", b"UUID")


def tokens(sql: bytes) -> Iterator[bytes]:
    """Yield the words, quoted pieces and signs of *sql*, comments and blanks left out."""
    for match in _TOKEN.finditer(sql):
        if match.lastgroup != "blank":
            yield match[0]


def first_words(sql: bytes, count: int = 16) -> list[bytes]:
    """Return the first *count* tokens."""
    words = []
    for token in tokens(sql):
        words.append(token)
        if len(words) == count:
            break
    return words


def is_blank(sql: bytes) -> bool:
    """Return whether *sql* holds nothing but blanks, comments and semicolons."""
    return all(token == b";" for token in tokens(sql))


def result_format(sql: bytes) -> str | None:
    """Return the format named by the FORMAT clause at the end of *sql*."""
    if b"format" not in sql.lower():
        return None
    tail: list[bytes] = []
    for token in tokens(sql):
        tail = [token] if token.upper() == b"FORMAT" else [*tail, token][:3]
    if len(tail) < 2 or tail[0].upper() != b"FORMAT" or not _BARE.fullmatch(tail[1]):
        return None
    return tail[1].decode() if len(tail) == 2 or tail[2].upper() in (b";", b"SETTINGS") else None


def inline_rows(sql: bytes) -> tuple[bytes, str, bytes] | None:
    """Split ``INSERT INTO t FORMAT CSV 1,2`` into (``INSERT INTO t``, ``CSV``, rows); ``None`` for any other statement.

    Source: ParserInsertQuery in ClickHouse's src/Parsers/ParserInsertQuery.cpp: rows start behind the first line end
    after the format's name, or, when there is none, behind the blanks.
    """
    depth = position = 0
    start = None
    for match in _TOKEN.finditer(sql):
        token = match[0]
        if match.lastgroup == "blank":
            continue
        word = token.upper()
        if start is not None:
            return (sql[:start], token.decode(), _after_blanks(sql, match.end())) if _BARE.fullmatch(token) else None
        if (position == 0 and word != b"INSERT") or (depth == 0 and word in (b"VALUES", b"SELECT", b"WITH", b"INFILE")):
            return None
        depth += (token == b"(") - (token == b")")
        if depth == 0 and position > 2 and word == b"FORMAT":
            start = match.start()
        position += 1
    return None


def reaches_for_files(sql: bytes, kind: str) -> bool:
    """Return whether *sql* reads or writes a file of the client, which a server is never asked to do."""
    words = [word.upper() for word in first_words(sql, 64)]
    if words[:1] == [b"INSERT"]:
        return any(pair == (b"FROM", b"INFILE") for pair in itertools.pairwise(words))
    return kind == "CONTROL" and words[:1] in ([b"SELECT"], [b"WITH"])


def _after_blanks(sql: bytes, position: int) -> bytes:
    while sql[position : position + 1] in (b" ", b"\t", b"\f"):
        position += 1
    position += sql[position : position + 1] == b"\r"
    position += sql[position : position + 1] == b"\n"
    return sql[position:]


def without_format(sql: bytes) -> bytes:
    """Return *sql* without what stands from its last FORMAT on."""
    position = len(sql)
    for match in _TOKEN.finditer(sql):
        if match[0].upper() == b"FORMAT":
            position = match.start()
    return sql[:position].rstrip(b" \t\r\n;")


def identifier(token: bytes) -> str | None:
    """Return the name *token* stands for, unquoted; ``None`` when it is no name."""
    if token[:1] in (b"`", b'"') and len(token) > 1:
        plain = _ESCAPE.sub(lambda match: match[1] or match[2][:1], token[1:-1])
        return plain.decode("utf-8", "surrogateescape")
    return token.decode() if _BARE.fullmatch(token) else None


def skip(words: list[bytes], *phrases: bytes) -> list[bytes]:
    """Return *words* without the leading *phrases* (``b"IF NOT EXISTS"``) that it has, tried in their order."""
    for phrase in phrases:
        parts = phrase.split()
        if [word.upper() for word in words[: len(parts)]] == parts:
            words = words[len(parts) :]
    return words


def qualified_name(words: list[bytes]) -> tuple[str | None, str] | None:
    """Return (database or ``None``, name) that *words* begin with."""
    name = identifier(words[0]) if words else None
    if name is None:
        return None
    if len(words) > 2 and words[1] == b".":
        inner = identifier(words[2])
        return (name, inner) if inner is not None else None
    return None, name


def written_table(words: list[bytes]) -> tuple[str | None, str] | None:
    """Return the one table a statement that starts with *words* puts rows into or empties; ``None`` when unclear."""
    upper = [word.upper() for word in words[:4]]
    if upper[:2] == [b"INSERT", b"INTO"]:
        rest = skip(words[2:], b"TABLE")
        return None if rest[:1] and rest[0].upper() == b"FUNCTION" else qualified_name(rest)
    if upper[:2] == [b"TRUNCATE", b"TABLE"]:
        return qualified_name(skip(words[2:], b"IF EXISTS"))
    return None


def made_table(words: list[bytes]) -> tuple[str | None, str, bytes] | None:
    """Return (database, table, ``CREATE``, ``CREATE IF NOT EXISTS`` or ``DROP``) of a plain statement about a table."""
    upper = [word.upper() for word in words[:2]]
    if upper not in ([b"CREATE", b"TABLE"], [b"DROP", b"TABLE"]):
        return None
    rest = skip(words[2:], b"IF NOT EXISTS")
    verb = b"CREATE IF NOT EXISTS" if len(rest) < len(words) - 2 else upper[0]
    found = qualified_name(skip(rest, b"IF EXISTS"))
    return (*found, verb) if found else None


def named_database(words: list[bytes]) -> str | None:
    """Return the database named by ``CREATE DATABASE`` or ``DROP DATABASE``."""
    if len(words) < 3 or words[0].upper() not in (b"CREATE", b"DROP") or words[1].upper() != b"DATABASE":
        return None
    rest = skip(words[2:], b"IF NOT EXISTS", b"IF EXISTS", b"IF EMPTY")
    after = rest[1].upper() if len(rest) > 1 else b""
    return identifier(rest[0]) if rest and after in _DATABASE_END else None


def shared_object(words: list[bytes]) -> tuple[str, str] | None:
    """Return (kind, name) of the function or named collection a statement creates, alters or drops."""
    if not words or words[0].upper() not in (b"CREATE", b"DROP", b"ALTER"):
        return None
    rest = skip(words[1:], b"OR REPLACE")
    for kind in (b"FUNCTION", b"NAMED COLLECTION"):
        left = skip(rest, kind)
        if left != rest:
            found = qualified_name(skip(left, b"IF NOT EXISTS", b"IF EXISTS"))
            return (kind.decode(), found[1]) if found else None
    return None
