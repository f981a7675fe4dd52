"""pytest-redis, as its documentation says: the fixture ``redisdb``."""

import pytest


@pytest.fixture
def client(redisdb):
    return redisdb
