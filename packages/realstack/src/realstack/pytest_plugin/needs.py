"""Which services a test needs: read off the fixtures it asks for, directly or through others."""

from collections.abc import Iterable

#: Fixture -> the services it starts. ``real_services`` starts each on first use instead.
FIXTURE_SERVICES = {
    "postgres_dsn": ("postgres",),
    "real_postgres": ("postgres",),
    "database_connection": ("postgres",),
    "database_transaction": ("postgres",),
    "redis_url": ("redis",),
    "real_redis": ("redis",),
    "redis_client": ("redis",),
    "redis_manager": ("redis",),
    "clickhouse_url": ("clickhouse",),
    "real_clickhouse": ("clickhouse",),
    "clickhouse_client": ("clickhouse",),
    "real_app": ("app",),
    "real_http_client": ("app",),
    "real_websocket_client": ("app",),
    "real_services": (),
}

#: Fixtures that make a test a real-services test.
REAL_FIXTURES = frozenset(FIXTURE_SERVICES)

#: Fixtures of the kit: what they do is no state of the tests'.
OWN_FIXTURES = REAL_FIXTURES | {"_realstack", "_postgres_version"}


def services_needed(fixtures: Iterable[str]) -> frozenset[str]:
    """Return the services that *fixtures* start."""
    return frozenset(service for name in fixtures for service in FIXTURE_SERVICES.get(name, ()))


def is_real_services_test(fixtures: Iterable[str]) -> bool:
    """True when any of *fixtures* is one of the kit's."""
    return not REAL_FIXTURES.isdisjoint(fixtures)
