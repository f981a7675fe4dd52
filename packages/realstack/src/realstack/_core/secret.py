"""Hiding what nobody may read in a log."""

import re

MASK = "***"
# kept as text: compiled on first use, so that importing this costs nothing
_NAMED = r"(?i)\b((?:ssl)?password|passwd|pwd|passphrase|secret|token|requirepass)=([^&\s]*)"
_TELLING_NAMES = r"(?i)passw|passphrase|secret|token|credential|private|(?:^|_)key$|api_?key|requirepass"


def mask_url(url: str) -> str:
    """Return *url* with whatever stands where a password would be masked, even if the rest is no valid URL.

    Masked are ``user:password@`` up to the last ``@``, so that a password with an unescaped slash does not slip
    through, and ``password=`` wherever it stands, as in ``?password=x`` or in a keyword connection string.
    """
    head, separator, tail = url.partition("://")
    if separator:
        authority, question, query = tail.partition("?")
        who, at, where = authority.rpartition("@")
        if at and ":" in who:
            who = who.partition(":")[0] + ":" + MASK
        url = f"{head}{separator}{who}{at}{where}{question}{query}"
    return re.sub(_NAMED, rf"\1={MASK}", url)


def is_secret_name(name: str) -> bool:
    """True when a setting of this name most likely holds a secret: ``JWT_SECRET``, ``requirepass``, ``API_KEY``."""
    return bool(re.search(_TELLING_NAMES, name))


def mask_value(name: str, value: str) -> str:
    """Return *value* as it may be shown: nothing of it under a secret's name, URLs without their passwords."""
    return MASK if value and is_secret_name(name) else mask_url(value)
