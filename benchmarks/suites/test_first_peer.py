"""pytest-postgresql: the first answer of PostgreSQL."""

from benchmarks.probe import mark


def test_first(postgresql):
    assert postgresql.execute("SELECT count(*) FROM t_019").fetchone() == (0,)
    mark("ready")
    mark("psycopg")
