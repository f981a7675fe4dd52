"""realstack with a new client for each test, as pytest-redis has it."""

import pytest
import redis


@pytest.fixture
def client(redis_url):
    with redis.Redis.from_url(redis_url) as opened:
        yield opened
