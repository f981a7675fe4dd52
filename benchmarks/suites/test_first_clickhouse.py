"""realstack: the first answer of ClickHouse."""

from urllib.request import urlopen

from benchmarks.probe import mark


def test_first(clickhouse_url):
    with urlopen(f"{clickhouse_url}?query=SELECT%20count()%20FROM%20events") as answer:
        assert answer.read() == b"0\n"
    mark("ready")
