"""realstack: a connection that lives as long as an app's pool; the kit puts the database back after each test."""

import psycopg
import pytest


@pytest.fixture(scope="session")
def connection(postgres_dsn):
    with psycopg.connect(postgres_dsn, autocommit=True) as opened:
        yield opened
