"""What a key, a tenant, a partition and a lifetime may be: one set of rules for every backend."""

import dataclasses
import math
from typing import Final

from agent_backend.errors import ArgumentInvalid, NamespaceViolation

NAMESPACE_PREFIX: Final = "aqe/"
DEFAULT_TENANT: Final = "default"
DEFAULT_PARTITION: Final = "default"
DEFAULT_TTL_S: Final = 3600

MAX_KEY_BYTES: Final = 255
MAX_PARTITION_CHARACTERS: Final = 50
MAX_TENANT_CHARACTERS: Final = 63
MAX_PATTERN_CHARACTERS: Final = 1024
MAX_TTL_S: Final = 100 * 365 * 86_400

_LAST_CODE_POINT: Final = 0x10FFFF


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class KeyRange:
    """The keys from *low* up to, not including, *high*, by code point."""

    low: str
    high: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MemoryScope:
    """The part of a memory that one object sees and touches: one tenant's keys in one namespace.

    A namespace ends with ``/``, so that ``user/1/`` never reaches into ``user/12/``.
    """

    tenant: str = DEFAULT_TENANT
    namespace: str = NAMESPACE_PREFIX

    def __post_init__(self) -> None:
        check_text("tenant", self.tenant, max_characters=MAX_TENANT_CHARACTERS)
        check_text("namespace", self.namespace, max_characters=MAX_KEY_BYTES - 1)
        if not self.namespace.endswith("/"):
            raise _invalid("namespace", self.namespace, "end with '/'")

    def check_key(self, key: str) -> str:
        """Return *key* when an item may have it.

        Raises:
            NamespaceViolation: it lies outside this scope's namespace.
            ArgumentInvalid: empty, too long, nothing after the namespace, or characters no store can keep in a key.
        """
        if not isinstance(key, str) or not key:
            raise _invalid("key", key, "be a text that is not empty")
        if not key.startswith(self.namespace):
            raise NamespaceViolation(key=key, namespace=self.namespace)
        if len(key) == len(self.namespace):
            raise _invalid("key", key, f"have a name after the namespace {self.namespace!r}")
        _check_characters("key", key)
        if _size_of(key) > MAX_KEY_BYTES:
            raise _invalid("key", key, f"have at most {MAX_KEY_BYTES} bytes as UTF-8, it has {_size_of(key)}")
        return key

    def range_of(self, prefix: str) -> KeyRange | None:
        """Return the keys of this scope that start with *prefix*; None when there can be none."""
        check_text("prefix", prefix, max_characters=MAX_PATTERN_CHARACTERS, may_be_empty=True)
        if self.namespace.startswith(prefix):
            return _range_of(self.namespace)
        return _range_of(prefix) if prefix.startswith(self.namespace) else None


def check_partition(partition: str) -> str:
    """Return *partition* when an item may lie in it."""
    check_text("partition", partition, max_characters=MAX_PARTITION_CHARACTERS)
    return partition


def check_ttl(ttl: float | None) -> float | None:
    """Return *ttl* in seconds when an item may live that long; None lives for ever."""
    if ttl is None:
        return None
    if isinstance(ttl, bool) or not isinstance(ttl, int | float) or not math.isfinite(ttl):
        raise _invalid("ttl", ttl, "be a number of seconds, or None for ever")
    if not 0 < ttl <= MAX_TTL_S:
        raise _invalid("ttl", ttl, f"be greater than 0 and at most {MAX_TTL_S} seconds; None is for ever")
    return ttl


def check_text(argument: str, text: str, *, max_characters: int, may_be_empty: bool = False) -> None:
    """Raise ``ArgumentInvalid`` unless *text* is a text every store can keep, of at most *max_characters*."""
    if not isinstance(text, str) or not (text or may_be_empty):
        raise _invalid(argument, text, "be a text that is not empty")
    if len(text) > max_characters:
        raise _invalid(argument, text, f"have at most {max_characters} characters, it has {len(text)}")
    _check_characters(argument, text)


def _check_characters(argument: str, text: str) -> None:
    if "\0" in text:
        raise _invalid(argument, text, "not contain NUL, which PostgreSQL cannot keep in a text")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise _invalid(argument, text, "not contain lone surrogates, which UTF-8 cannot write") from None


def _size_of(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _range_of(prefix: str) -> KeyRange:
    """Return the range of all texts that start with *prefix*, which contains a ``/`` and so has a successor."""
    head = prefix.rstrip(chr(_LAST_CODE_POINT))
    following = ord(head[-1]) + 1
    # UTF-8 has no place for surrogates: after the last code point before them comes the first one behind
    return KeyRange(low=prefix, high=head[:-1] + chr(0xE000 if following == 0xD800 else following))


def _invalid(argument: str, value: object, wanted: str) -> ArgumentInvalid:
    shown = repr(value)
    return ArgumentInvalid(argument=argument, value=shown if len(shown) <= 80 else shown[:77] + "...", wanted=wanted)
