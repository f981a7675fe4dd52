"""By hand: DELETE from every table after each test, last one first; sequences move on."""

import psycopg
import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("bench_dsn", "the database")


@pytest.fixture(scope="session")
def shared(request):
    with psycopg.connect(request.config.getini("bench_dsn"), autocommit=True) as opened:
        yield opened


@pytest.fixture(scope="session")
def delete_all(shared):
    rows = shared.execute(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 't\\_%' ORDER BY relname DESC"
    ).fetchall()
    return ";".join(f"DELETE FROM {name}" for (name,) in rows)


@pytest.fixture
def connection(shared, delete_all):
    yield shared
    shared.execute(delete_all)
