"""How a test gets a ClickHouse database of its own."""

from realstack.isolation.clickhouse.reset import ClickHouseIsolation

__all__ = ("ClickHouseIsolation",)
