"""Hiding what nobody may read in a log."""

import re

MASK = "***"
_NAMED = re.compile(r"(?i)\b((?:ssl)?password|passwd|pwd|passphrase|secret|token|requirepass)=([^&\s]*)")
_SECRET_WORDS = re.compile(r"(?i)passw|passphrase|secret|token|credential|private|(?:^|_)key$|api_?key|requirepass")


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
    return _NAMED.sub(rf"\1={MASK}", url)


def is_secret_name(name: str) -> bool:
    """True when a setting of this name most likely holds a secret: ``JWT_SECRET``, ``requirepass``, ``API_KEY``."""
    return bool(_SECRET_WORDS.search(name))


def mask_value(name: str, value: str) -> str:
    """Return *value* as it may be shown: nothing of it under a secret's name, URLs without their passwords."""
    return MASK if value and is_secret_name(name) else mask_url(value)
