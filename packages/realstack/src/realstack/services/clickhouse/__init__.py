"""ClickHouse: the embedded engine behind an HTTP front, servers elsewhere, and the kit's own way to talk to both."""
