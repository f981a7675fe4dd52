"""realstack: a clickhouse-connect client for the session; the kit puts the database back after each test."""

from urllib.parse import urlsplit

import clickhouse_connect
import pytest


@pytest.fixture(scope="session")
def client(clickhouse_url):
    url = urlsplit(clickhouse_url)
    opened = clickhouse_connect.get_client(host=url.hostname, port=url.port, database=url.path[1:])
    yield opened
    opened.close()
