"""A Redis server that runs already and is not ours to stop."""

from typing import TYPE_CHECKING

from realstack._core.clock import SYSTEM_CLOCK
from realstack.errors import RedisRefused, ServerUnreachable
from realstack.services.redis.server import version_of
from realstack.services.redis.wire import Connection

if TYPE_CHECKING:
    from realstack.services.endpoint import Endpoint


class AttachedRedis:
    """A running Redis server somebody else started."""

    log = None

    def __init__(self, endpoint: "Endpoint", *, version: str, started_in_s: float, provider: str = "url") -> None:
        """Hold what ``attach`` found out."""
        self.endpoint, self.version, self.started_in_s, self.provider = endpoint, version, started_in_s, provider

    def __repr__(self) -> str:
        return f"<AttachedRedis {self.version} {self.endpoint.safe_url}>"

    def connect(self, *, timeout_s: float = 10.0) -> Connection:
        """Open a connection of the kit's own."""
        return Connection(self.endpoint, timeout_s=timeout_s)

    def is_alive(self) -> bool:
        try:
            with self.connect(timeout_s=5.0) as connection:
                return connection.call("PING") == b"PONG"
        except (ServerUnreachable, RedisRefused):
            return False

    def stop(self) -> None:
        """Do nothing: it is not ours."""


def attach(endpoint: "Endpoint", *, provider: str = "url", timeout_s: float = 5.0) -> AttachedRedis:
    """Return the server at *endpoint*, which must answer and let us in.

    Args:
        endpoint: where it is and as whom to connect.
        provider: what to call where it comes from: ``url`` or ``container``.
        timeout_s: seconds any one answer may take.

    Raises:
        ServerUnreachable: it does not; the password is masked.
    """
    started = SYSTEM_CLOCK.now_s()
    with Connection(endpoint, timeout_s=timeout_s) as connection:
        try:
            connection.call("PING")
        except RedisRefused as refused:  # NOAUTH: it wants a password and the URL has none
            raise ServerUnreachable(service="redis", url=endpoint.safe_url, reason=refused.message) from refused
        try:
            version = version_of(connection)
        except RedisRefused:  # INFO may be forbidden; what depends on the version then takes the oldest way
            version = "unknown"
    took_s = SYSTEM_CLOCK.now_s() - started
    return AttachedRedis(endpoint, version=version, started_in_s=took_s, provider=provider)
