"""The promise every memory backend keeps."""

from collections.abc import Awaitable, Mapping
from typing import Any, Protocol

from agent_backend.memory.globs import OneCharacter
from agent_backend.memory.model import MemoryItem, MemoryStats
from agent_backend.memory.rules import MemoryScope


class MemoryBackend(Protocol):
    """Shared memory of agents: values under keys, each in a partition, each with a lifetime or none.

    Every call sees and touches one scope only: a tenant's keys in a namespace. Time is the server's. An item whose time
    has passed is invisible at once to every method, whether it has been swept or not. A key outside the namespace is a
    ``NamespaceViolation``, other bad arguments an ``ArgumentInvalid``; both are ``ValueError``.
    """

    @property
    def scope(self) -> MemoryScope: ...

    async def store(
        self,
        key: str,
        value: Any,  # any JSON value
        ttl: float | None = 3600,
        partition: str = "default",
        *,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Put *value* under *key*, in place of whatever was there: value, partition, lifetime and metadata.

        Args:
            key: 1 to 255 bytes of UTF-8, inside the namespace.
            value: anything with a JSON form, up to 16 MiB of it.
            ttl: seconds from now, greater than 0; None lives for ever.
            partition: 1 to 50 characters.
            metadata: what is said about the value; comes back with ``item``.

        Raises:
            ValueNotSerialisable: names the first member without a JSON form.
            ValueTooLarge: more than 16 MiB.
        """
        ...

    async def retrieve(self, key: str) -> Any:  # any JSON value
        """Return the value under *key*, None when there is none."""
        ...

    async def item(self, key: str) -> MemoryItem | None:
        """Return the value under *key* with everything known of it, None when there is none."""
        ...

    async def search(self, pattern: str, *, one_character: OneCharacter = "?") -> dict[str, Any]:
        """Return the items whose whole key fits *pattern*, sorted by key.

        Args:
            pattern: ``*`` is any run of characters, ``?`` exactly one, everything else is itself.
            one_character: ``"_"`` makes the underscore mean exactly one character, as in SQL, and ``?`` itself.
        """
        ...

    async def delete(self, key: str) -> None:
        """Forget *key*; silent when there is none."""
        ...

    async def clear_partition(self, partition: str) -> None:
        """Forget exactly the keys that lie in *partition*."""
        ...

    async def list_keys(self, prefix: str | None = None) -> list[str]:
        """Return the keys that start with *prefix*, by code point; end it with ``/`` to stop at a segment."""
        ...

    async def get_stats(self) -> MemoryStats: ...

    async def cleanup_expired(self) -> int:
        """Sweep what is past its time and return how many items that were; 0 where the server sweeps by itself."""
        ...

    def close(self) -> Awaitable[None]:
        """Let go of the connections this memory opened itself; a plain call is enough, awaiting it waits."""
        ...
