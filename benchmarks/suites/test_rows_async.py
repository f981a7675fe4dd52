"""The same on asyncpg."""


async def test_one_row(connection, turn):
    await connection.execute("INSERT INTO t_000 (name) VALUES ('ada')")
    assert await connection.fetchval("SELECT count(*) FROM t_000") == 1
