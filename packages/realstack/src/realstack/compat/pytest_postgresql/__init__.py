"""Stands in for pytest-postgresql: import ``factories`` from here, or name this module in ``pytest_plugins``.

The fixtures below are those the original brings by itself: ``postgresql postgresql_async postgresql_proc
postgresql_noproc``.
"""

import pytest

from realstack.compat.pytest_postgresql import factories
from realstack.compat.pytest_postgresql.config import declare_options

__all__ = ("factories", "postgresql", "postgresql_async", "postgresql_noproc", "postgresql_proc")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the original's ini settings and options."""
    declare_options(parser)


postgresql_proc = factories.postgresql_proc()
postgresql_noproc = factories.postgresql_noproc()
postgresql = factories.postgresql("postgresql_proc")
postgresql_async = factories.postgresql_async("postgresql_proc")
