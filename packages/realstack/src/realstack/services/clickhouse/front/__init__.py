"""Embedded ClickHouse: a process that speaks ClickHouse's HTTP interface on the chdb engine.

Started with ``python -m realstack.services.clickhouse.front``; nothing else of the kit imports it. It is the engine of
ClickHouse, not a server: it has one address, one user at work (``default``) and no native protocol.
"""
