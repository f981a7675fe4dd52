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
    text = _render(value, is_expression=False)
    return text[1:-1] if text.startswith("'") else text


def literal(value: Any) -> str:
    """Return *value* as an expression that stands for nothing else in a statement.

    Raises:
        TypeError: ClickHouse has no literal for it.
    """
    return _render(value, is_expression=True)


def _render(value: Any, *, is_expression: bool) -> str:
    """Write *value* for a statement, where functions make types exact, or for a parameter, which is all text."""
    match value:
        case None:
            return "NULL"
        case bool():
            return "true" if value else "false"
        case int():
            return _integer(value) if is_expression else str(value)
        case float():
            return repr(value)
        case str():
            return "'" + value.translate(_ESCAPES) + "'"
        case bytes():
            return "'" + "".join(f"\\x{byte:02x}" for byte in value) + "'"
        case Mapping() | tuple() | list() | set() | frozenset():
            return _container(value, is_expression=is_expression)
    return _object(value, is_expression=is_expression)


def _integer(value: int) -> str:
    """A literal beyond 64 bits would be read as a float."""
    if -(2**63) <= value < 2**64:
        return str(value)
    return f"toUInt256('{value}')" if value > 0 else f"toInt256('{value}')"


def _container(value: Any, *, is_expression: bool) -> str:
    def inner(item: Any) -> str:
        return _render(item, is_expression=is_expression)

    if isinstance(value, Mapping):
        if is_expression:
            return f"map({', '.join(inner(part) for item in value.items() for part in item)})"
        return "{" + ", ".join(f"{inner(key)}: {inner(item)}" for key, item in value.items()) + "}"
    items = ", ".join(inner(item) for item in value)
    if isinstance(value, tuple):
        return f"tuple({items})" if is_expression else f"({items})"
    return f"[{items}]"


def _object(value: Any, *, is_expression: bool) -> str:
    from datetime import date, datetime
    from decimal import Decimal
    from enum import Enum
    from ipaddress import IPv4Address, IPv6Address
    from uuid import UUID

    match value:
        case Enum():
            return _render(value.value, is_expression=is_expression)
        case datetime() if value.tzinfo is not None:
            return _moment(value, is_expression=is_expression)
        case datetime():
            return f"'{value.isoformat(sep=' ')}'"
        case date() | UUID() | IPv4Address() | IPv6Address():
            return f"'{value}'"
        case Decimal() if is_expression and value.is_finite():
            exponent = value.as_tuple().exponent
            return f"toDecimal256('{value:f}', {max(0, -int(exponent))})"
        case Decimal():
            return f"{value:f}"
    raise TypeError(f"value={value!r} of type {type(value).__name__} has no ClickHouse literal")


def _moment(value: Any, *, is_expression: bool) -> str:
    """A time with a zone is a moment, whatever zone the column has."""
    from datetime import UTC, datetime, timedelta

    micros = (value - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    if is_expression:
        return f"fromUnixTimestamp64Micro({micros}, 'UTC')"
    seconds, fraction = divmod(micros, 1_000_000)
    return f"'{seconds}.{fraction:06}'" if fraction else f"'{seconds}'"
