"""The same as ``realstack.compat.testcontainers.redis``, under its newer name."""

from realstack.compat.testcontainers.redis import AsyncRedisContainer, RedisContainer

__all__ = ("AsyncRedisContainer", "RedisContainer")
