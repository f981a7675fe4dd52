"""realstack: the first answer of PostgreSQL, with a client that costs no import, then with psycopg."""

from benchmarks.probe import mark


def test_first(postgres_dsn):
    from realstack.services.endpoint import Endpoint
    from realstack.services.postgres.wire import Connection

    with Connection(Endpoint.parse("postgres", postgres_dsn)) as connection:
        assert connection.query("SELECT count(*) FROM t_019") == [("0",)]
    mark("ready")
    import psycopg

    with psycopg.connect(postgres_dsn) as connection:
        assert connection.execute("SELECT count(*) FROM t_019").fetchone() == (0,)
    mark("psycopg")
