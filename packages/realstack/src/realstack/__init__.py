"""Real services for every test, from pip, isolated in a millisecond.

The public names are below; each is imported when it is first used, so that ``import realstack`` costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from realstack.errors import RealstackError
    from realstack.runtime.stack import Stack, open_stack
    from realstack.services.endpoint import Endpoint

__version__ = "0.1.0"

__all__ = ("Endpoint", "RealstackError", "Stack", "__version__", "open_stack")

_HOMES = {
    "Endpoint": "realstack.services.endpoint",
    "RealstackError": "realstack.errors",
    "Stack": "realstack.runtime.stack",
    "open_stack": "realstack.runtime.stack",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'realstack' has no attribute {name!r}; it has {', '.join(__all__)}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
