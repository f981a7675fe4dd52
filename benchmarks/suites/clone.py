"""realstack with ``isolation = "clone"``: each test has a new database, and connects to it."""

import time

import psycopg
import pytest
from benchmarks.probe import sample


@pytest.fixture
def connection(postgres_dsn):
    started = time.perf_counter()
    with psycopg.connect(postgres_dsn, autocommit=True) as opened:
        sample("connect", time.perf_counter() - started)
        yield opened
