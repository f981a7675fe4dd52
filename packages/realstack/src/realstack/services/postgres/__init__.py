"""PostgreSQL: its server, and the kit's own connection to it."""
