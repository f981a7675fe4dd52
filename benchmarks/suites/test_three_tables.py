"""Three tables that hold 50 rows each at the start of a test are written to."""


def test_three_rows(connection, turn):
    with connection.transaction():
        for number in range(3):
            connection.execute(f"INSERT INTO t_{number:03} (name) VALUES ('ada')")
    assert connection.execute("SELECT count(*) FROM t_001").fetchone() == (51,)
