"""Shared memory of agents, in PostgreSQL or Redis, by one interface."""

from agent_backend.memory.model import MemoryItem, MemoryStats, PostgresMemoryStats, RedisMemoryStats
from agent_backend.memory.ports import MemoryBackend
from agent_backend.memory.postgres import PostgresMemory
from agent_backend.memory.redis import RedisMemory
from agent_backend.memory.rules import NAMESPACE_PREFIX, MemoryScope

SUPPORTED_BACKENDS = ["postgres", "redis"]
DEFAULT_BACKEND = "postgres"

__all__ = (
    "DEFAULT_BACKEND",
    "NAMESPACE_PREFIX",
    "SUPPORTED_BACKENDS",
    "MemoryBackend",
    "MemoryItem",
    "MemoryScope",
    "MemoryStats",
    "PostgresMemory",
    "PostgresMemoryStats",
    "RedisMemory",
    "RedisMemoryStats",
)
