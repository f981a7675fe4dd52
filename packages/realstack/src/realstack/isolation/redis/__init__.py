"""How a test gets a Redis of its own: put back after it, a server for it alone, or a number on somebody else's."""

from realstack.isolation.redis.claimed import ClaimedIsolation
from realstack.isolation.redis.clients import Client
from realstack.isolation.redis.process import ProcessIsolation
from realstack.isolation.redis.reset import ResetIsolation

__all__ = ("ClaimedIsolation", "Client", "ProcessIsolation", "ResetIsolation")
