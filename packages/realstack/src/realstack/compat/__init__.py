"""Suites written for pytest-postgresql, pytest-redis or testcontainers, on the kit's servers, by changing one line.

Each module has the names of the package it stands in for. What makes no sense here (paths of programs, ports to pick)
is accepted and said once, as a ``CompatWarning``; what would change a result and cannot be had is refused.
"""

import warnings

__all__ = ("CompatWarning", "say_once")

_said: set[str] = set()


class CompatWarning(UserWarning):
    """An argument of the original has no meaning on the kit's servers and was passed over."""


def say_once(text: str) -> None:
    """Warn of *text*, once in this process."""
    if text not in _said:
        _said.add(text)
        warnings.warn(text, CompatWarning, stacklevel=3)
