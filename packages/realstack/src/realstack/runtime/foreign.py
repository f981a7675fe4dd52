"""Services on servers that are not ours: chosen by a URL, kept to what this run made there."""

from realstack.abc import Isolation, Server
from realstack.config import ClickHouseConfig, PostgresConfig, RedisConfig
from realstack.runtime.plan import DatabasePlan
from realstack.runtime.run import Run
from realstack.runtime.service import ServiceKey

Provided = tuple[Server, Isolation]


def foreign_postgres(run: Run, config: PostgresConfig, plan: DatabasePlan) -> Provided | None:
    """Return a database of our own on the server the configuration names; ``None`` when it names none."""
    return None


def foreign_redis(run: Run, config: RedisConfig, key: ServiceKey) -> Provided | None:
    """Return an empty database number claimed on the server the configuration names; ``None`` when it names none."""
    return None


def foreign_clickhouse(run: Run, config: ClickHouseConfig, key: ServiceKey) -> Provided | None:
    """Return a database of our own on the server the configuration names; ``None`` when it names none."""
    return None
