r"""The stored form of a value: its JSON text, kept character by character.

This is the on-disk format of both backends. PostgreSQL keeps it in a ``json`` column, not ``jsonb``: ``jsonb`` refuses
NUL and lone surrogates, turns ``1e20`` into an integer and ``-0.0`` into ``0.0`` (tried on 18.4), while ``json`` is the
text itself. So nothing has to be encoded, and nothing can come back changed:

- NUL and other control characters are ``\u`` escapes, as JSON demands;
- a value that holds a lone surrogate, which UTF-8 cannot carry, is written in ASCII, every other one in UTF-8;
- as JSON has it, tuples come back as lists and keys that are numbers, booleans or None as strings.

NaN and the infinities have no JSON form and are refused; so is what is nested deeper than ``MAX_DEPTH``, because it
could be written and then not be read in a deeper call stack.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from agent_backend.errors import ValueNotSerialisable, ValueTooLarge

MAX_VALUE_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 400

_TEXT = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_ASCII = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))
_SCALARS = (str, int, float, bool, type(None))


def encode_value(value: Any, *, max_bytes: int = MAX_VALUE_BYTES) -> str:  # any JSON value
    """Return *value* as the text to store; ``decode_value`` gives an equal value back.

    Raises:
        ValueNotSerialisable: names the first offending member.
        ValueTooLarge: more than *max_bytes* bytes of JSON.
    """
    try:
        text = _TEXT.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise _refusal(value, error) from error
    if text.isascii():
        size = len(text)
    else:
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            text = _ASCII.encode(value)
            size = len(text)
    if size > max_bytes:
        raise ValueTooLarge(size_bytes=size, max_bytes=max_bytes)
    # counting brackets is cheap and an upper bound of the depth
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _refuse_depth(value)
    return text


def decode_value(text: str | bytes) -> Any:  # any JSON value
    """Return the value that was stored as *text*."""
    return json.loads(text)


def _refusal(value: object, error: Exception) -> ValueNotSerialisable:
    if isinstance(error, RecursionError):
        return _too_deep("$")
    path, reason = next(_offences(value, "$", ()), ("$", str(error)))
    return ValueNotSerialisable(path=path, reason=reason)


def _too_deep(path: str) -> ValueNotSerialisable:
    return ValueNotSerialisable(path=path, reason=f"is nested deeper than {MAX_DEPTH} levels")


def _offences(value: object, path: str, above: tuple[int, ...]) -> Iterator[tuple[str, str]]:
    """Yield where *value* has no JSON form and why, in order."""
    if id(value) in above:
        yield path, "contains itself"
    elif isinstance(value, Mapping | list | tuple):
        yield from _offences_inside(value, path, (*above, id(value)))
    elif not isinstance(value, _SCALARS):
        yield path, f"is of type {type(value).__qualname__}"
    else:
        try:
            _TEXT.encode(value)
        except ValueError as error:
            yield path, f"is {value!r}" if isinstance(value, float) else f"is refused: {error}"


def _offences_inside(
    value: Mapping[Any, Any] | list[Any] | tuple[Any, ...], path: str, above: tuple[int, ...]
) -> Iterator[tuple[str, str]]:
    if not isinstance(value, Mapping):
        for index, member in enumerate(value):
            yield from _offences(member, f"{path}[{index}]", above)
        return
    if not isinstance(value, dict):
        yield path, f"is of type {type(value).__qualname__}"
    for key, member in value.items():
        if not isinstance(key, _SCALARS):
            yield path, f"has a key of type {type(key).__qualname__}: {key!r}"
        yield from _offences(member, f"{path}.{key}", above)


def _refuse_depth(value: object) -> None:
    """Raise when *value* is nested too deep; walks level by level, so that depth costs no stack."""
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        level = [
            member
            for node in level
            if isinstance(node, dict | list | tuple)
            for member in (node.values() if isinstance(node, dict) else node)
        ]
        if not level:
            return
    if any(isinstance(node, dict | list | tuple) for node in level):
        raise _too_deep("$")
