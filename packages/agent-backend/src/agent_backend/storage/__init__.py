"""Connections to the stores, and the schema in them."""
