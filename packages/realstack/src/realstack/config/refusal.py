"""Refusing a setting; the errors are imported only when there is one, since all of them cost 5 ms."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from realstack._core.secret import mask_value

if TYPE_CHECKING:
    from realstack.errors import ConfigInvalid, ConfigUnknown


def invalid(key: str, value: object, *, source: str, wanted: str) -> "ConfigInvalid":
    """Return the error for a *value* that *key* cannot have; what may be a secret in it is masked."""
    from realstack.errors import ConfigInvalid

    shown = repr(mask_value(key, str(value))) if isinstance(value, str | int | float) else _summary(value)
    return ConfigInvalid(key=key, value=shown, source=source, wanted=wanted)


def unknown(key: str, *, source: str, known: Iterable[str], prefix: str = "") -> "ConfigUnknown":
    """Return the error for a *key* nobody knows, with the nearest of *known* under *prefix*."""
    from realstack.errors import ConfigUnknown

    near = nearest(key.removeprefix(prefix), known)
    return ConfigUnknown(key=key, source=source, near=near and prefix + near)


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """Return the known name most like *name*, or nothing."""
    import difflib

    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)), "")


def _summary(value: object) -> str:
    # a list or a table may hold secrets anywhere
    return "(nothing)" if value is None else f"({type(value).__name__})"
