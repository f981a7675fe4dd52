"""Stands in for pytest-redis: import ``factories`` from here, or name this module in ``pytest_plugins``.

The fixtures below are those the original brings by itself: ``redisdb redisdb_async redis_proc redis_noproc``.
"""

import pytest

from realstack.compat.pytest_redis import factories
from realstack.compat.pytest_redis.config import declare_options

__all__ = ("factories", "redis_noproc", "redis_proc", "redisdb", "redisdb_async")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the original's ini settings and options."""
    declare_options(parser)


redis_proc = factories.default_redis_proc()
redis_noproc = factories.redis_noproc()
redisdb = factories.redisdb("redis_proc")
redisdb_async = factories.redisdb_async("redis_proc")
