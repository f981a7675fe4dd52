"""Where one service can be reached."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from realstack._core.secret import MASK as MASK
from realstack._core.secret import mask_url as mask_url
from realstack.errors import EndpointInvalid

if TYPE_CHECKING:
    from urllib.parse import SplitResult

_DEFAULT_PORTS = {"postgres": 5432, "redis": 6379, "clickhouse": 8123, "app": 80}
_SCHEMES = {
    "postgres": ("postgresql", "postgres"),
    "redis": ("redis", "rediss", "unix"),
    "clickhouse": ("http", "https", "clickhouse", "clickhouses"),
    "app": ("http", "https"),
}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """Where one service can be reached; ``repr`` and ``safe_url`` mask the password, ``url`` does not."""

    service: str
    port: int
    host: str = "127.0.0.1"
    #: PostgreSQL: the folder its socket lies in. Redis: the socket itself.
    socket: str | None = None
    user: str | None = None
    password: str | None = None
    database: str | None = None
    scheme: str = ""
    #: What stood after ``?`` in the URL, in its order.
    options: tuple[tuple[str, str], ...] = ()

    @property
    def url(self) -> str:
        """The URL a client connects with; it holds the password."""
        return self._url(self.password)

    @property
    def safe_url(self) -> str:
        """The same URL with the password masked, for people and logs."""
        return self._url(None if self.password is None else MASK)

    @property
    def socket_url(self) -> str | None:
        """A PostgreSQL URL over the socket, three times as fast as TCP; drivers on libpq and asyncpg understand it."""
        if self.service != "postgres" or self.socket is None:
            return None
        from urllib.parse import quote, urlencode

        where = urlencode({"host": self.socket, "port": self.port})
        return f"postgresql://{quote(self.user or '', safe='')}@/{quote(self.database or '', safe='')}?{where}"

    def __repr__(self) -> str:
        return f"<Endpoint {self.service} {self.safe_url}>"

    def with_database(self, database: str) -> "Endpoint":
        """Return the same place with another database."""
        return dataclasses.replace(self, database=database)

    @classmethod
    def parse(cls, service: str, url: str) -> "Endpoint":
        """Read *url*; driver suffixes such as ``postgresql+asyncpg`` are accepted and dropped.

        Raises:
            EndpointInvalid: wrong scheme, no host, or a port that is no number; the password is masked.
        """
        from urllib.parse import parse_qsl, unquote, urlsplit

        parts = urlsplit(url.strip())
        scheme = parts.scheme.partition("+")[0].lower()
        problem = _problem_with(service, scheme, parts)
        if problem:
            raise EndpointInvalid(service=service, url=mask_url(url), reason=problem)
        host = unquote(parts.hostname or "127.0.0.1")
        return cls(
            service=service,
            host=host,
            port=parts.port or _DEFAULT_PORTS[service],
            user=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            database=unquote(parts.path.lstrip("/")) or None,
            scheme="postgresql" if scheme == "postgres" else scheme,
            options=tuple(parse_qsl(parts.query, keep_blank_values=True)),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain values, password included: for files only their owner can read."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Endpoint":
        """Read what ``to_json`` wrote."""
        options = tuple((str(key), str(value)) for key, value in values.get("options", ()))
        return cls(**{**values, "options": options})

    def _url(self, password: str | None) -> str:
        from urllib.parse import quote, urlencode

        who = quote(self.user or "", safe="")
        if password is not None:
            who += ":" + (password if password == MASK else quote(password, safe=""))
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = self.scheme or _SCHEMES[self.service][0]
        path = f"/{quote(self.database, safe='')}" if self.database else ""
        query = f"?{urlencode(self.options)}" if self.options else ""
        return f"{scheme}://{who}{'@' if who else ''}{host}:{self.port}{path}{query}"


def _problem_with(service: str, scheme: str, parts: "SplitResult") -> str:
    known = _SCHEMES[service]
    if scheme not in known:
        return f"scheme {scheme!r} must be one of {', '.join(known)}"
    try:
        _ = parts.port
    except ValueError:
        return "the port is not a number from 0 to 65535"
    return "" if parts.hostname or scheme == "unix" or parts.query else "no host is named"
