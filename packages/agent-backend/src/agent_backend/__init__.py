"""A multi-agent backend on PostgreSQL, Redis and ClickHouse."""
