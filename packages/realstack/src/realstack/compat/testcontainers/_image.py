"""What the name of an image says: which service, and which version of it."""

import re
from collections.abc import Mapping

from realstack.errors import CompatRefused

_TAG_VERSION = re.compile(r"v?(\d+(?:\.\d+)*)")
_VECTOR_TAG = re.compile(r"(?:.*-)?(?:pg|v?[\d.]+-pg)(\d+)")


def wanted_version(image: str, known: Mapping[str, str]) -> str | None:
    """Return the version that *image* asks for, ``None`` for any.

    Args:
        image: ``postgres:16-alpine``, ``docker.io/library/redis:7``, a digest after ``@`` is not looked at.
        known: names of images that are what realstack starts, to what the version in their tags looks like:
            ``plain`` or ``pg`` (``pgvector/pgvector:0.8.0-pg17``).

    Raises:
        CompatRefused: another image: what is in it nobody here knows.
    """
    name, _, tag = image.partition("@")[0].removeprefix("docker.io/").removeprefix("library/").partition(":")
    if name not in known:
        raise CompatRefused(
            what=f"image {image!r}",
            why=f"realstack starts what is in {', '.join(sorted(known))}, and knows no other image",
            remedy="keep testcontainers' own class for this one",
        )
    pattern = _TAG_VERSION if known[name] == "plain" else _VECTOR_TAG
    found = pattern.match(tag)
    return found[1] if found else None
