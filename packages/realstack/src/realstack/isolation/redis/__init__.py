"""How a test gets a Redis of its own: put back after it, a server for it alone, or a number on somebody else's."""

from realstack.isolation.redis.clients import Client
from realstack.isolation.redis.reset import ResetIsolation

__all__ = ("Client", "ResetIsolation")
