"""realstack: the first answers of PostgreSQL, Redis and ClickHouse."""

from urllib.parse import urlsplit
from urllib.request import urlopen

from benchmarks.probe import mark


def test_first(postgres_dsn, redis_url, clickhouse_url):
    from realstack.services.endpoint import Endpoint
    from realstack.services.postgres.wire import Connection
    from realstack.services.redis.wire import Connection as RedisConnection

    with Connection(Endpoint.parse("postgres", postgres_dsn)) as connection:
        assert connection.query("SELECT count(*) FROM t_019") == [("0",)]
    with RedisConnection(Endpoint.parse("redis", redis_url)) as redis:
        assert redis.call("DBSIZE") == 0
    url = urlsplit(clickhouse_url)
    query = f"?database={url.path[1:]}&query=SELECT%20count()%20FROM%20events"
    with urlopen(f"http://{url.hostname}:{url.port}/{query}") as answer:
        assert answer.read() == b"0\n"
    mark("ready")
