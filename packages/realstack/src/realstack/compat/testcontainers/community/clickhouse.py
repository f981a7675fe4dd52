"""The same as ``realstack.compat.testcontainers.clickhouse``, under its newer name."""

from realstack.compat.testcontainers.clickhouse import ClickHouseContainer

__all__ = ("ClickHouseContainer",)
