"""Search patterns: ``*`` is any run of characters, ``?`` exactly one, everything else is itself.

Parsed once, written out twice: for Python (Redis, models) and for PostgreSQL's regular expressions. A character is a
code point in both.
"""

import dataclasses
import functools
import re
from typing import Literal

OneCharacter = Literal["?", "_"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Glob:
    """One parsed pattern."""

    #: What every match starts with: the text before the first wildcard.
    prefix: str
    #: True when the pattern is *prefix* and one ``*``: the range of the prefix is the answer, no filter is needed.
    is_prefix_only: bool
    #: The pattern as a regular expression of PostgreSQL, anchored at both ends.
    postgres_regex: str
    _matcher: re.Pattern[str]

    def matches(self, text: str) -> bool:
        """True when the whole of *text* fits the pattern; takes linear time per ``*``."""
        return self._matcher.fullmatch(text) is not None


@functools.lru_cache(maxsize=512)
def parse_glob(pattern: str, *, one_character: OneCharacter = "?") -> Glob:
    """Parse *pattern*.

    Args:
        pattern: any text; there is no escape, a literal ``*`` or ``?`` is matched by the wildcard itself.
        one_character: what stands for exactly one character; the other of the two is literal.
    """
    runs = [run.split(one_character) for run in pattern.split("*")]
    prefix = runs[0][0]
    return Glob(
        prefix=prefix,
        is_prefix_only=pattern == prefix + "*",
        postgres_regex="^" + ".*".join(".".join(map(_quote_for_postgres, run)) for run in runs) + "$",
        _matcher=re.compile(_for_python([".".join(map(re.escape, run)) for run in runs]), re.DOTALL),
    )


def _for_python(runs: list[str]) -> str:
    """Write *runs* with a wildcard between each two; atomic groups keep a hostile pattern from backtracking."""
    if len(runs) == 1:
        return runs[0]
    first, *middle, last = runs
    return first + "".join(f"(?>.*?{run})" for run in middle if run) + ".*" + last


def _quote_for_postgres(text: str) -> str:
    # PostgreSQL manual, "Regular Expression Escapes": a backslash before a character that is not alphanumeric makes
    # it literal; before one that is, it starts an escape
    return "".join(c if c.isalnum() or ord(c) > 127 else f"\\{c}" for c in text)
