"""realstack: the first answer of ClickHouse."""

from urllib.parse import urlsplit
from urllib.request import urlopen

from benchmarks.probe import mark


def test_first(clickhouse_url):
    url = urlsplit(clickhouse_url)
    query = f"?database={url.path[1:]}&query=SELECT%20count()%20FROM%20events"
    with urlopen(f"http://{url.hostname}:{url.port}/{query}") as answer:
        assert answer.read() == b"0\n"
    mark("ready")
