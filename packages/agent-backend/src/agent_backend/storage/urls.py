"""Naming a store without telling its password."""

import re

_MASK = "***"
_AUTHORITY_PASSWORD = re.compile(r"^([^/?#]*://[^:/?#@]*):.*@", re.DOTALL)
_NAMED_PASSWORD = re.compile(r"(?i)\b(\w*passw(?:or)?d\w*\s*=\s*)('(?:\\.|[^'\\])*'|[^&\s]*)")


def mask_url(url: str) -> str:
    """Return *url*, a URL or ``key=value`` words, with whatever may be a password masked."""
    return _NAMED_PASSWORD.sub(rf"\g<1>{_MASK}", _AUTHORITY_PASSWORD.sub(rf"\g<1>:{_MASK}@", url))
