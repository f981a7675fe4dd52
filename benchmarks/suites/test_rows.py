"""What every suite on PostgreSQL runs: a unique value is committed, and nobody else's is there."""


def test_one_row(connection, turn):
    with connection.transaction():
        connection.execute("INSERT INTO t_000 (name) VALUES ('ada')")
    assert connection.execute("SELECT count(*) FROM t_000").fetchone() == (1,)
