"""Versions, and what somebody wants of one: ``16``, ``16.4``, ``>=15``, ``15,16,18`` or nothing at all."""

import dataclasses
import re
from collections.abc import Callable
from operator import ge, gt, le, lt

from realstack.errors import ConfigInvalid

_NUMBER = re.compile(r"\d+(?:\.\d+)*")
_TERM = re.compile(r"(>=|<=|==|>|<|)\s*v?(\d+(?:\.\d+)*)(?:\.\*|\.x)?")
_COMPARE: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {">=": ge, "<=": le, ">": gt, "<": lt}


def numbers_of(version: str) -> tuple[int, ...]:
    """Return the numbers *version* starts with: ``(18, 4)`` for ``18.4 (Debian)``; empty when there are none."""
    found = _NUMBER.search(version)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """What a version must be; numbers left out match any: ``16`` is every 16.x, ``>15`` starts at 16."""

    text: str
    #: Alternatives, one of which must match.
    exact: tuple[tuple[int, ...], ...] = ()
    #: Limits, all of which must hold.
    limits: tuple[tuple[str, tuple[int, ...]], ...] = ()

    @classmethod
    def parse(cls, text: str | None, *, key: str = "version", source: str = "version") -> "Wanted":
        """Read *text*; ``None`` and the empty text want nothing in particular.

        Args:
            text: terms with commas between them; plain ones are alternatives, ones with an operator are limits.
            key: the setting's name, for the error.
            source: where the setting stands, for the error.

        Raises:
            ConfigInvalid: a term is no version.
        """
        exact: list[tuple[int, ...]] = []
        limits: list[tuple[str, tuple[int, ...]]] = []
        for term in (part.strip() for part in (text or "").split(",") if part.strip()):
            found = _TERM.fullmatch(term)
            if found is None:
                raise ConfigInvalid(
                    key=key,
                    value=repr(text),
                    source=source,
                    wanted="a version: 16, 16.4, >=15 or a list such as 15,16,18",
                )
            operator, numbers = found[1], numbers_of(found[2])
            if operator in ("", "=="):
                exact.append(numbers)
            else:
                limits.append((operator, numbers))
        return cls((text or "").strip(), tuple(exact), tuple(limits))

    def matches(self, version: str) -> bool:
        """Tell whether *version* is one of those wanted; a version without a number never is, unless any will do."""
        if not self.exact and not self.limits:
            return True
        numbers = numbers_of(version)
        if not numbers:
            return False
        return (not self.exact or any(numbers[: len(want)] == want for want in self.exact)) and all(
            _COMPARE[operator](numbers[: len(limit)], limit) for operator, limit in self.limits
        )

    def __bool__(self) -> bool:
        return bool(self.exact or self.limits)

    def __str__(self) -> str:
        return self.text
