"""Names for states: a digest of everything that made them."""

import hashlib
from collections.abc import Iterable
from pathlib import Path


def digest_of(parts: Iterable[str | bytes], *, length: int = 12) -> str:
    """Return the first *length* hex characters of the SHA-256 over *parts*.

    Each part is preceded by its length, so that ``("ab", "c")`` and ``("a", "bc")`` differ.
    """
    total = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        total.update(len(raw).to_bytes(8, "big"))
        total.update(raw)
    return total.hexdigest()[:length]


def digest_of_files(paths: Iterable[Path]) -> str:
    """Return a digest of the names and contents of *paths*, in the order given."""
    return digest_of(part for path in paths for part in (path.name, path.read_bytes()))
