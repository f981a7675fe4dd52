"""realstack: a clickhouse-connect client for the session; the kit puts the database back after each test."""

from urllib.parse import parse_qs, urlsplit

import clickhouse_connect
import pytest


@pytest.fixture(scope="session")
def client(clickhouse_url):
    url = urlsplit(clickhouse_url)
    database = parse_qs(url.query).get("database", [url.path.strip("/")])[0]
    opened = clickhouse_connect.get_client(host=url.hostname, port=url.port, database=database)
    yield opened
    opened.close()
