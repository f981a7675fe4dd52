"""Forms with files: external tables that live for one query, and parameters too long for a URL."""

import dataclasses
import re
from collections.abc import Mapping

from .errors import Failure

_BOUNDARY = re.compile(r'boundary=(?:"([^"]+)"|([^;\s]+))', re.IGNORECASE)
_ATTRIBUTE = re.compile(r'\b(name|filename)="((?:[^"\\]|\\.)*)"', re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z_]\w*")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ExternalTable:
    """Rows a client sends along with a query, to be read in it as a table."""

    name: str
    format: str
    #: As in CREATE TABLE: ``id UInt32, name String``.
    structure: str
    rows: bytes


def read_form(body: bytes, content_type: str) -> tuple[dict[str, str], dict[str, bytes]]:
    """Return (fields, files) of a multipart form.

    Raises:
        Failure: no boundary is named, or the form broke off.
    """
    found = _BOUNDARY.search(content_type)
    if not found:
        raise Failure(36, "multipart/form-data without a boundary", "BAD_ARGUMENTS")
    mark = b"--" + (found[1] or found[2]).encode("latin-1")
    parts = (b"\r\n" + body).split(b"\r\n" + mark)
    if len(parts) < 2 or not parts[-1].startswith(b"--"):
        raise Failure(33, "Cannot read all data: the form broke off", "CANNOT_READ_ALL_DATA")
    fields: dict[str, str] = {}
    files: dict[str, bytes] = {}
    for part in parts[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        attributes = {key.lower(): value for key, value in _ATTRIBUTE.findall(head.decode("utf-8", "surrogateescape"))}
        name = attributes.get("name", "")
        if "filename" in attributes:
            files[name] = content
        else:
            fields[name] = content.decode("utf-8", "surrogateescape")
    return fields, files


def external_tables(files: Mapping[str, bytes], parameters: Mapping[str, str]) -> tuple[ExternalTable, ...]:
    """Return the tables that *files* hold, described by ``<name>_structure`` or ``<name>_types``, ``<name>_format``."""
    tables = []
    for name, rows in files.items():
        if not _NAME.fullmatch(name):
            raise Failure(36, f"External table {name!r} has no usable name", "BAD_ARGUMENTS")
        structure = parameters.get(f"{name}_structure") or _numbered(parameters.get(f"{name}_types", ""))
        if not structure:
            text = f"Neither structure nor types have not been provided for external table {name}"
            raise Failure(36, text, "BAD_ARGUMENTS")
        form = parameters.get(f"{name}_format", "TabSeparated")
        if not _NAME.fullmatch(form):
            raise Failure(73, f"Unknown format {form}", "UNKNOWN_FORMAT")
        tables.append(ExternalTable(name=name, format=form, structure=structure, rows=rows))
    return tuple(tables)


def _numbered(types: str) -> str:
    """Turn ``UInt32,Array(String)`` into ``_1 UInt32, _2 Array(String)``."""
    pieces, depth = [""], 0
    for sign in types:
        depth += (sign == "(") - (sign == ")")
        if sign == "," and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += sign
    return ", ".join(f"_{number} {piece.strip()}" for number, piece in enumerate(pieces, 1) if piece.strip())
