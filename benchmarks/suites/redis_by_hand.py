"""By hand: one client for the session, FLUSHALL after each test; the server is pytest-redis'."""

import pytest
import redis


@pytest.fixture(scope="session")
def shared(redis_proc):
    with redis.Redis(host=redis_proc.host, port=redis_proc.port) as opened:
        yield opened


@pytest.fixture
def client(shared):
    yield shared
    shared.flushall()
