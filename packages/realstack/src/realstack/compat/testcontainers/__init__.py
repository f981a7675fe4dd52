"""Stands in for testcontainers: PostgreSQL, Redis and ClickHouse without Docker, under the same names."""
