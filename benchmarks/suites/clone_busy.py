"""The same for tests that take a while, as tests do: a fresh database is made meanwhile."""

import threading
import time

import psycopg
import pytest
from benchmarks.probe import sample

_TEST_TAKES_S = 0.06


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call():
    threading.Event().wait(_TEST_TAKES_S)
    return (yield)


@pytest.fixture
def connection(postgres_dsn):
    started = time.perf_counter()
    with psycopg.connect(postgres_dsn, autocommit=True) as opened:
        sample("connect", time.perf_counter() - started)
        yield opened
