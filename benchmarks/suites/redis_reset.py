"""realstack: a client that lives as long as an app's; the kit puts the server back after each test."""

import pytest
import redis


@pytest.fixture(scope="session")
def client(redis_url):
    with redis.Redis.from_url(redis_url) as opened:
        yield opened
