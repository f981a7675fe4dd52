"""Native blocks as servers write them for clients that name a protocol version (``client_protocol_version``).

The engine writes Native as for clients that name none: no block has an info in front, and a column of type
``DateTime('Europe/Berlin')`` is called ``DateTime``. Both are put back here. The zone stays out where a column whose
length cannot be told stands before it.
"""

import re
from collections.abc import Sequence

#: From the first on servers name the zone, from the second on columns have a head of their own, which is not offered.
#: Source: ClickHouse's src/Core/ProtocolDefines.h.
VERSIONS = range(54337, 54454)
#: Not an overflow block, bucket -1. Source: BlockInfo::write in ClickHouse's src/Core/BlockInfo.cpp.
BLOCK_INFO = b"\x01\x00\x02\xff\xff\xff\xff\x00"
MARK = b"\x08DateTime"
_ZONE = re.compile(r"DateTime\('([^']+)'\)")
_WIDTHS = {
    **dict.fromkeys(("Int8", "UInt8", "Bool", "Enum8"), 1),
    **dict.fromkeys(("Int16", "UInt16", "Date", "Enum16", "BFloat16"), 2),
    **dict.fromkeys(("Int32", "UInt32", "Float32", "Date32", "DateTime", "IPv4", "Time"), 4),
    **dict.fromkeys(("Int64", "UInt64", "Float64", "DateTime64", "Time64"), 8),
    **dict.fromkeys(("Int128", "UInt128", "UUID", "IPv6"), 16),
    **dict.fromkeys(("Int256", "UInt256"), 32),
}


class _Unknown(Exception):
    """A column whose length cannot be told."""


def zone_of(type_name: str) -> str | None:
    """Return the zone of a bare ``DateTime('zone')``, the one type that loses it."""
    found = _ZONE.fullmatch(type_name)
    return found[1] if found else None


def with_zones(blocks: bytes, zones: Sequence[str | None]) -> bytes:
    """Return *blocks* with each bare DateTime column renamed to its zone; *zones* has one for each column."""
    pieces: list[bytes] = []
    position = start = 0
    try:
        while position < len(blocks):
            columns, position = _number(blocks, position)
            rows, position = _number(blocks, position)
            if columns != len(zones):
                return blocks
            for zone in zones:
                _, position = _text(blocks, position)
                begin = position
                kind, position = _text(blocks, position)
                if zone is not None and kind == "DateTime":
                    name = f"DateTime('{zone}')".encode()
                    pieces += [blocks[start:begin], bytes((len(name),)), name]
                    start = position
                position += _length(kind, rows, blocks, position)
    except (_Unknown, IndexError):
        return blocks
    return b"".join([*pieces, blocks[start:]])


def _number(blocks: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = blocks[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _text(blocks: bytes, position: int) -> tuple[str, int]:
    length, position = _number(blocks, position)
    return blocks[position : position + length].decode("utf-8", "surrogateescape"), position + length


def _length(kind: str, rows: int, blocks: bytes, position: int) -> int:
    name, _, rest = kind.partition("(")
    if name == "Nullable":
        return rows + _length(rest[:-1], rows, blocks, position + rows)
    if name == "String":
        begin = position
        for _ in range(rows):
            length, position = _number(blocks, position)
            position += length
        return position - begin
    if name == "FixedString":
        return rows * int(rest[:-1])
    if name == "Decimal":
        precision = int(rest.partition(",")[0])
        return rows * (4 if precision <= 9 else 8 if precision <= 18 else 16 if precision <= 38 else 32)
    if name not in _WIDTHS:
        raise _Unknown
    return rows * _WIDTHS[name]
