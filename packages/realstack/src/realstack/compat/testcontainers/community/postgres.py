"""The same as ``realstack.compat.testcontainers.postgres``, under its newer name."""

from realstack.compat.testcontainers.postgres import PostgresContainer

__all__ = ("PostgresContainer",)
