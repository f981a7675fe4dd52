"""What a memory holds and tells."""

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypedDict


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MemoryItem:
    """One stored value with what the store knows of it."""

    key: str
    value: Any
    partition: str
    #: The server's time of the last ``store``.
    created_at: datetime
    #: None: never.
    expires_at: datetime | None
    #: Grows with every ``store`` of this key; says nothing else.
    version: int
    metadata: Mapping[str, Any]


class MemoryStats(TypedDict):
    """What every backend tells of its scope; backends add figures of their own."""

    #: Live items.
    total_keys: int
    #: Live items by partition, the largest first.
    partitions: dict[str, int]


class PostgresMemoryStats(MemoryStats):
    """Figures of ``PostgresMemory``."""

    #: Items that are past their time and not yet swept.
    total_expired: int
    #: What the values of live items take on disk.
    size_bytes: int
    size_mb: float


class RedisMemoryStats(MemoryStats):
    """Figures of ``RedisMemory``; memory and clients are the whole server's."""

    memory_used: str
    memory_peak: str
    connected_clients: int
    keyspace_info: dict[str, dict[str, int]]
