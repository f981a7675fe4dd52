"""The layer of variables: the environment and ``.env.test``, in the names of the kit and of common test suites."""

from collections.abc import Mapping
from pathlib import Path

from realstack.config.model import URL_SCHEMES
from realstack.config.names import Instances, all_keys
from realstack.config.refusal import invalid, unknown
from realstack.config.values import has_scheme

Layer = dict[str, tuple[object, str]]
"""Key to (raw value, where it was said)."""

PREFIX = "REALSTACK_"
INTERNAL = frozenset({"REALSTACK_CONTROL"})
"""Names the kit gives to processes it starts; they are no settings."""
HINTS = {"postgres": "DATABASE_URL", "redis": "REDIS_URL", "clickhouse": "CLICKHOUSE_URL"}
"""Names that applications read too: what they hold may be production."""
_PORTS = {"postgres": "PORT", "redis": "PORT", "clickhouse": "HTTP_PORT"}
_SCHEMES = {"postgres": "postgresql", "redis": "redis", "clickhouse": "http"}


def read_variables(environ: Mapping[str, str], *, instances: Instances, label: str = "") -> Layer:
    """Return the settings that *environ* says; empty values say nothing.

    Args:
        environ: names and values.
        instances: the named instances there are.
        label: what the source is called; by default each variable's own name.

    Raises:
        ConfigUnknown: a ``REALSTACK_*`` name that is no setting.
        ConfigInvalid: ``TEST_POSTGRES_USER`` and its like without a host.
    """
    layer: Layer = {}
    for service in HINTS:
        layer.update(_place(service, environ))
    if environ.get("USE_REAL_SERVICES"):
        layer["real_services"] = environ["USE_REAL_SERVICES"], "USE_REAL_SERVICES"
    keys = all_keys(instances)
    for name, value in environ.items():
        if name.startswith(PREFIX) and name not in INTERNAL:
            key = keys.get(name.removeprefix(PREFIX).lower())
            if key is None:
                known = [each.upper() for each in keys]
                raise unknown(name, source=label or "the environment", known=known, prefix=PREFIX)
            if value:
                layer[key] = value, name
    return {key: (value, f"{label}: {name}" if label else name) for key, (value, name) in layer.items()}


def read_hints(environ: Mapping[str, str], *, label: str = "") -> Layer:
    """Return the URLs under the names that applications read too, where they are of the right kind."""
    found: Layer = {}
    for service, name in HINTS.items():
        url = environ.get(name, "")
        # DATABASE_URL=sqlite:///db.sqlite3 is nothing to do with PostgreSQL
        if has_scheme(url, URL_SCHEMES[service]):
            found[f"{service}.url"] = url, f"{label}: {name}" if label else name
    return found


def read_dotenv(path: Path) -> dict[str, str]:
    """Return the names and values of a file of ``NAME=value`` lines; nothing is expanded, nothing is executed.

    Raises:
        ConfigInvalid: a line that is none of: blank, comment, ``NAME=value``; it names the line, never its content.
    """
    if not path.is_file():
        return {}
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        text = line.strip().removeprefix("export ").strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals or not name.strip().isidentifier():
            raise invalid(f"line {number}", (), source=path.name, wanted="NAME=value, a comment or blank")
        found[name.strip()] = _unquoted(value.strip())
    return found


def _unquoted(value: str) -> str:
    quote = value[:1]
    if quote and quote in "\"'" and (end := value.find(quote, 1)) > 0:
        return value[1:end]
    return value.partition(" #")[0].rstrip()


def _place(service: str, environ: Mapping[str, str]) -> Layer:
    """Return where *service* is said to be in ``TEST_<SERVICE>_URL`` or in its parts."""
    prefix = f"TEST_{service.upper()}_"
    if url := environ.get(f"{prefix}URL"):
        return {f"{service}.url": (url, f"{prefix}URL")}
    part_names = ("HOST", _PORTS[service], "USER", "PASSWORD", "DB")
    parts = {name: environ[prefix + name] for name in part_names if environ.get(prefix + name)}
    if "HOST" in parts or _PORTS[service] in parts:
        source = next(prefix + name for name in parts)
        return {f"{service}.url": (_url(service, parts, prefix=prefix), source)}
    return _without_place(service, parts, prefix=prefix)


def _without_place(service: str, parts: Mapping[str, str], *, prefix: str) -> Layer:
    """Take a database's name alone; refuse credentials that belong to no server."""
    for name in ("USER", "PASSWORD"):
        if name in parts:
            raise invalid(
                prefix + name,
                parts[name],
                source="the environment",
                wanted=f"given together with {prefix}HOST, or left out: the kit's own server needs none",
            )
    if "DB" in parts and service != "redis":
        return {f"{service}.database": (parts["DB"], f"{prefix}DB")}
    return {}


def _url(service: str, parts: Mapping[str, str], *, prefix: str) -> str:
    from urllib.parse import quote

    port = parts.get(_PORTS[service], "")
    if port and not (port.isdecimal() and 0 < int(port) < 65536):
        raise invalid(prefix + _PORTS[service], port, source="the environment", wanted="a port from 1 to 65535")
    who = quote(parts.get("USER", ""), safe="")
    if password := parts.get("PASSWORD"):
        who += ":" + quote(password, safe="")
    host = parts.get("HOST", "localhost")
    place = f"[{host}]" if ":" in host else host
    database = f"/{quote(parts['DB'], safe='')}" if "DB" in parts else ""
    return f"{_SCHEMES[service]}://{who}{'@' if who else ''}{place}{':' if port else ''}{port}{database}"
