"""Whether a server somebody else runs may be used for tests: is it on this machine, does its name say production."""

import re
from typing import TYPE_CHECKING, Final

from realstack.errors import ForeignServerRefused

if TYPE_CHECKING:
    from realstack.services.endpoint import Endpoint

_WORD: Final = re.compile(r"[a-z]+")
_PRODUCTION: Final = frozenset(("prod", "production", "prd", "proddb", "produktion", "dbprod", "productiondb"))
#: Said of a server elsewhere only: at home these words name columns, people and a cluster of one.
_PRODUCTION_ELSEWHERE: Final = frozenset(("live", "primary", "master"))
_HARMLESS: Final = frozenset(
    ("test", "tests", "testing", "tst", "dev", "devel", "develop", "development", "ci", "local", "localhost")
) | frozenset(
    ("staging", "stage", "sandbox", "qa", "e2e", "integration", "preview", "review", "demo", "scratch", "tmp")
)
#: Where rented servers live. A name there tells nothing by itself, so it must say what it is for.
_RENTED: Final = (
    ".rds.amazonaws.com",
    ".cache.amazonaws.com",
    ".redshift.amazonaws.com",
    ".memorydb.amazonaws.com",
    ".database.azure.com",
    ".redis.cache.windows.net",
    ".sql.goog",
    ".cloud.redislabs.com",
    ".redis-cloud.com",
    ".upstash.io",
    ".neon.tech",
    ".supabase.co",
    ".supabase.com",
    ".clickhouse.cloud",
    ".aivencloud.com",
    ".ondigitalocean.com",
    ".render.com",
    ".railway.app",
    ".rlwy.net",
)


def check(endpoint: "Endpoint", *, allow_remote: bool, source: str) -> None:
    """Refuse *endpoint* when it is elsewhere without leave, or when its name smells of production.

    Nobody is connected to and no name is resolved. A part that names both production and a test (``prod-test``) is
    taken for a test; a test database on a production host is not.

    Args:
        endpoint: a server that is not ours.
        allow_remote: the user said that it may be on another machine.
        source: where its URL stands, for the message.

    Raises:
        ForeignServerRefused: it will not be used; carries the reason and what to do.
    """
    elsewhere = not is_this_machine(endpoint)
    if elsewhere and not allow_remote:
        raise _refused(
            endpoint,
            source,
            reason=f"host {endpoint.host!r} is not this machine",
            remedy=(
                f"set allow_remote = true in [tool.realstack.{endpoint.service}] if it is meant for tests, "
                "or unset the URL to let the kit start a server of its own"
            ),
        )
    if smell := smell_of_production(endpoint, elsewhere=elsewhere):
        raise _refused(
            endpoint,
            source,
            reason=smell,
            remedy=(
                "point it at a server whose host and database say test, dev, ci or staging, "
                "or unset the URL to let the kit start a server of its own"
            ),
        )


def is_this_machine(endpoint: "Endpoint") -> bool:
    """True for a socket, a loopback address, and this machine's own name and addresses; no name is resolved.

    A name that only this machine's resolver knows, such as a Docker service's, is another machine.
    """
    import socket

    if endpoint.socket or endpoint.scheme == "unix" or endpoint.host.startswith("/"):
        return True
    host = endpoint.host.lower().rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    own = socket.gethostname().lower()
    return host in (own, own.partition(".")[0]) or _is_own_address(host)


def smell_of_production(endpoint: "Endpoint", *, elsewhere: bool) -> str:
    """Return what in the names of *endpoint* says production; empty when nothing does."""
    words = _PRODUCTION | _PRODUCTION_ELSEWHERE if elsewhere else _PRODUCTION
    parts = {"database": endpoint.database or "", "user": endpoint.user or "", "host": endpoint.host}
    for what, name in parts.items():
        said = _words_of(name)
        # the words for elsewhere are common as user names: "master" is what RDS calls its first user
        found = said & (_PRODUCTION if what == "user" else words)
        if found and not said & _HARMLESS and not _is_negated(name):
            return f"{what} {name!r} says {min(found)!r}"
    host = endpoint.host.lower().rstrip(".")
    harmless = _HARMLESS & (_words_of(endpoint.host) | _words_of(endpoint.database or ""))
    if elsewhere and host.endswith(_RENTED) and not harmless:
        return f"host {endpoint.host!r} is a rented server, and neither it nor the database says that it is for tests"
    return ""


def _words_of(name: str) -> set[str]:
    """Split at everything that is no letter, and where a small letter meets a capital."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return set(_WORD.findall(spaced.lower()))


def _is_negated(name: str) -> bool:
    return re.search(r"\b(?:non|not|pre|no)[-_.]?prod", name.lower().replace("_", "-")) is not None


def _is_own_address(host: str) -> bool:
    """True when the system lets us bind it, which it does for this machine's own addresses only."""
    import socket

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.inet_pton(family, host.partition("%")[0])
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


def _refused(endpoint: "Endpoint", source: str, *, reason: str, remedy: str) -> ForeignServerRefused:
    return ForeignServerRefused(
        service=endpoint.service, url=endpoint.safe_url, source=source, reason=reason, remedy=remedy
    )
