"""Values of ClickHouse's types as Python values, and back; standard library only.

Results travel as JSON with numbers of 64 bits and decimals unharmed, so nothing is lost that the types can hold.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Reader = Callable[[Any], Any]

#: Settings under which ``reader`` understands the result.
JSON_SETTINGS = {
    "output_format_json_quote_64bit_integers": "0",
    "output_format_json_quote_denormals": "1",
    "output_format_json_quote_decimals": "1",
    "output_format_json_named_tuples_as_objects": "0",
    "output_format_json_escape_forward_slashes": "0",
    "date_time_output_format": "simple",
}
#: Settings under which rows written by ``json_row`` are read as they were meant.
INSERT_SETTINGS = {"date_time_input_format": "best_effort", "input_format_json_named_tuples_as_objects": "0"}

_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0", "\b": "\\b"})


@functools.lru_cache(maxsize=1024)
def reader(type_name: str) -> Reader:
    """Return what turns the JSON form of a value of *type_name* into a Python value.

    Integers become ``int``, decimals ``Decimal``, dates ``date``, times ``datetime`` (aware when the type names a time
    zone), UUIDs ``UUID``, addresses ``ipaddress`` objects, arrays ``list``, tuples ``tuple``, maps ``dict``; everything
    else stays what JSON says.
    """
    name, arguments = split_type(type_name)
    if name in ("Nullable", "LowCardinality"):
        inner = reader(arguments[0])
        return lambda value: None if value is None else inner(value)
    if name in _CONTAINERS:
        return _CONTAINERS[name](arguments)
    if name.startswith("DateTime"):
        return _time_reader(arguments)
    return _SIMPLE.get(name, _same)


def split_type(type_name: str) -> tuple[str, list[str]]:
    """Split ``Map(String, Array(UInt8))`` into ``Map`` and its arguments."""
    name, bracket, rest = type_name.partition("(")
    if not bracket:
        return type_name, []
    pieces, depth, quoted = [""], 0, False
    for sign in rest[:-1]:
        quoted ^= sign == "'"
        depth += 0 if quoted else (sign == "(") - (sign == ")")
        if sign == "," and depth == 0 and not quoted:
            pieces.append("")
        else:
            pieces[-1] += sign
    return name, [piece.strip() for piece in pieces]


def _same(value: Any) -> Any:
    return value


def _float(value: Any) -> Any:
    return value if value is None else float(value)


def _decimal(value: Any) -> Any:
    from decimal import Decimal

    return Decimal(value)


def _date(value: Any) -> Any:
    from datetime import date

    return date.fromisoformat(value)


def _uuid(value: Any) -> Any:
    from uuid import UUID

    return UUID(value)


def _address(value: Any) -> Any:
    from ipaddress import ip_address

    return ip_address(value)


def _time_reader(arguments: list[str]) -> Reader:
    from datetime import datetime

    zone_name = next((argument.strip("'") for argument in arguments if argument.startswith("'")), None)
    if zone_name is None:
        return datetime.fromisoformat
    from zoneinfo import ZoneInfo

    zone = ZoneInfo(zone_name)
    return lambda value: datetime.fromisoformat(value).replace(tzinfo=zone)


def _array_reader(arguments: list[str]) -> Reader:
    inner = reader(arguments[0])
    return lambda value: [inner(item) for item in value]


def _map_reader(arguments: list[str]) -> Reader:
    key, inner = reader(arguments[0]), reader(arguments[1])
    is_number = split_type(arguments[0])[0].lstrip("U").startswith("Int")
    # JSON has no keys but text
    return lambda value: {int(name) if is_number else key(name): inner(item) for name, item in value.items()}


def _tuple_reader(arguments: list[str]) -> Reader:
    # an element may be named: Tuple(id UInt8, at DateTime)
    readers = [reader(_without_name(argument)) for argument in arguments]
    return lambda value: tuple(read(item) for read, item in zip(readers, value, strict=True))


def _without_name(element: str) -> str:
    head, space, tail = element.partition(" ")
    return tail if space and "(" not in head and "'" not in head else element


_CONTAINERS: dict[str, Callable[[list[str]], Reader]] = {
    "Array": _array_reader,
    "Map": _map_reader,
    "Tuple": _tuple_reader,
}
_SIMPLE: dict[str, Reader] = {
    "Float32": _float,
    "Float64": _float,
    "BFloat16": _float,
    "Decimal": _decimal,
    "Date": _date,
    "Date32": _date,
    "UUID": _uuid,
    "IPv4": _address,
    "IPv6": _address,
    **dict.fromkeys(("UInt128", "UInt256", "Int128", "Int256"), int),
}


def json_row(row: Sequence[Any] | Mapping[str, Any]) -> str:
    """Return *row* as one line for JSONCompactEachRow (a sequence) or JSONEachRow (a mapping)."""
    import json

    return json.dumps(_plain(dict(row) if isinstance(row, Mapping) else list(row)), ensure_ascii=False)


def _plain(value: Any) -> Any:
    """Return *value* as JSON can say it."""
    from datetime import date, datetime
    from decimal import Decimal

    match value:
        case float():
            return value if math.isfinite(value) else str(value)
        case None | bool() | int() | str():
            return value
        case bytes():
            return value.decode("utf-8", "surrogateescape")
        case Mapping():
            return {_key(name): _plain(item) for name, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(item) for item in value]
        case datetime():
            return value.isoformat(sep=" ")
        case date():
            return value.isoformat()
        case Decimal():
            return str(value)
    return str(value)


def _key(value: Any) -> str:
    plain = _plain(value)
    return plain if isinstance(plain, str) else str(plain)


def parameter(value: Any) -> str:
    """Return *value* as ``param_<name>`` wants it: text, with its escapes, as in a TabSeparated column."""
    if value is None:
        return "\\N"
    if isinstance(value, str):
        return value.translate(_ESCAPES).replace("\\'", "'")
    if isinstance(value, list | tuple | set | Mapping):
        return literal(value)
    text = literal(value)
    return text[1:-1] if text.startswith("'") else text


def literal(value: Any) -> str:
    """Return *value* as a literal that stands for nothing else in a statement.

    Raises:
        TypeError: ClickHouse has no literal for it.
    """
    match value:
        case None:
            return "NULL"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return "'" + value.translate(_ESCAPES) + "'"
        case bytes():
            return "'" + "".join(f"\\x{byte:02x}" for byte in value) + "'"
        case Mapping():
            return "{" + ", ".join(f"{literal(key)}: {literal(item)}" for key, item in value.items()) + "}"
        case tuple():
            return "(" + ", ".join(literal(item) for item in value) + ("," if len(value) == 1 else "") + ")"
        case list() | set() | frozenset():
            return "[" + ", ".join(literal(item) for item in value) + "]"
    return _literal_of_object(value)


def _literal_of_object(value: Any) -> str:
    from datetime import UTC, date, datetime
    from decimal import Decimal
    from enum import Enum
    from ipaddress import IPv4Address, IPv6Address
    from uuid import UUID

    if isinstance(value, Enum):
        return literal(value.value)
    if isinstance(value, datetime):
        # without a zone it is meant in the server's; with one it is the same moment in UTC
        text = (value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value).isoformat(sep=" ")
        return f"'{text}'"
    if isinstance(value, date | UUID | IPv4Address | IPv6Address):
        return f"'{value}'"
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"value={value!r} of type {type(value).__name__} has no ClickHouse literal")
