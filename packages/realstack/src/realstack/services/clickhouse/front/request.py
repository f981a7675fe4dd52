"""What a client asks of ClickHouse, read from the parameters, headers and body of an HTTP request."""

import base64
import binascii
import dataclasses
import re
import uuid

from . import compression, multipart
from .errors import Failure
from .protocol import Request

#: Parameters of the interface itself; every other one is a setting of the query.
_OWN = frozenset(
    [
        "query",
        "database",
        "user",
        "password",
        "quota_key",
        "session_id",
        "session_timeout",
        "session_check",
        "close_session",
        "query_id",
        "default_format",
        "compress",
        "decompress",
        "wait_end_of_query",
        "buffer_size",
        "stacktrace",
        "client_protocol_version",
        "role",
    ]
)
#: Settings about the transport: the front acts on them, the engine has no use for them.
_TRANSPORT = frozenset(
    [
        "enable_http_compression",
        "http_zlib_compression_level",
        "send_progress_in_http_headers",
        "add_http_cors_header",
        "http_headers_progress_interval_ms",
        "cancel_http_readonly_queries_on_client_close",
        "http_wait_end_of_query",
        "http_response_buffer_size",
        "http_write_exception_in_output_format",
    ]
)
_SETTING = re.compile(r"[A-Za-z_]\w*")
_LONGEST_SESSION_S = 3600


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """The named session a request belongs to."""

    id: str
    timeout_s: float
    must_exist: bool
    ends: bool


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """One statement with everything a client said about it."""

    sql: bytes
    id: str
    user: str
    password: str
    database: str
    default_format: str
    settings: dict[str, str]
    parameters: dict[str, str]
    external: tuple[multipart.ExternalTable, ...]
    roles: tuple[str, ...]
    session: Session | None
    readonly: bool
    is_get: bool
    wait: bool
    #: What ``Accept-Encoding`` allows, empty for a plain reply.
    accept: str
    #: What the client says it understands; 0 when it says nothing.
    protocol: int
    #: Made by the kit itself to put a baseline back, so not a thing to put back.
    is_ours: bool


def read_query(request: Request, *, compress_by_default: bool) -> Query:
    """Return what *request* asks for.

    Raises:
        Failure: parameters contradict each other, have impossible values, or the body cannot be decoded.
    """
    parameters = request.parameters
    body = compression.decode(request.body, request.headers.get("content-encoding", ""))
    external: tuple[multipart.ExternalTable, ...] = ()
    content_type = request.headers.get("content-type", "")
    if content_type.startswith("multipart/form-data"):
        fields, files = multipart.read_form(body, content_type)
        parameters = {**parameters, **fields}
        external = multipart.external_tables(files, parameters)
        body = b""
    _refuse_unsupported(parameters)
    user, password = _credentials(request, parameters)
    used_up = {f"{table.name}_{kind}" for table in external for kind in ("format", "types", "structure")}
    settings = {name: value for name, value in parameters.items() if _is_setting(name, used_up)}
    compress = _flag(settings.get("enable_http_compression"), default=compress_by_default)
    return Query(
        sql=_statement(parameters.get("query", ""), body),
        id=parameters.get("query_id") or request.headers.get("x-clickhouse-query-id") or str(uuid.uuid4()),
        user=user,
        password=password,
        database=parameters.get("database") or request.headers.get("x-clickhouse-database", ""),
        default_format=parameters.get("default_format") or request.headers.get("x-clickhouse-format", "TabSeparated"),
        settings={name: value for name, value in settings.items() if name not in _TRANSPORT},
        parameters={name[6:]: value for name, value in parameters.items() if name.startswith("param_")},
        external=external,
        roles=(parameters["role"],) if parameters.get("role") else (),
        session=_session(parameters),
        readonly=request.method in ("GET", "HEAD") or settings.get("readonly", "0") not in ("0", ""),
        is_get=request.method in ("GET", "HEAD"),
        wait=_flag(parameters.get("wait_end_of_query")) or _flag(settings.get("http_wait_end_of_query")),
        accept=request.headers.get("accept-encoding", "") if compress else "",
        protocol=int(protocol) if (protocol := parameters.get("client_protocol_version", "")).isdigit() else 0,
        is_ours=request.headers.get("x-realstack-unjournaled") == "1",
    )


def _statement(query: str, body: bytes) -> bytes:
    """A query in the URL and a body are one statement with a line break between them, as in ClickHouse."""
    if not query:
        return body
    head = query.encode("utf-8", "surrogateescape")
    return head + b"\n" + body if body else head


def _is_setting(name: str, used_up: set[str]) -> bool:
    if name in _OWN or name in used_up or name.startswith("param_"):
        return False
    if not _SETTING.fullmatch(name):
        raise Failure(115, f"Setting {name!r} is no name a setting can have", "UNKNOWN_SETTING")
    return True


def _refuse_unsupported(parameters: dict[str, str]) -> None:
    for name in ("compress", "decompress"):
        if _flag(parameters.get(name)):
            text = f"embedded ClickHouse has no block compression ({name}=1); use Accept-Encoding and Content-Encoding"
            raise Failure(48, text, "NOT_IMPLEMENTED")


def _flag(value: str | None, *, default: bool = False) -> bool:
    return default if value is None else value.lower() in ("1", "true")


def _session(parameters: dict[str, str]) -> Session | None:
    if not parameters.get("session_id"):
        return None
    text = parameters.get("session_timeout", "60")
    if not text.isdigit():
        raise Failure(374, f"Invalid session timeout: '{text}'", "INVALID_SESSION_TIMEOUT")
    if int(text) > _LONGEST_SESSION_S:
        text = f"Session timeout '{text}' is larger than max_session_timeout: {_LONGEST_SESSION_S}"
        raise Failure(374, text, "INVALID_SESSION_TIMEOUT")
    return Session(
        id=parameters["session_id"],
        timeout_s=float(text),
        must_exist=_flag(parameters.get("session_check")),
        ends=_flag(parameters.get("close_session")),
    )


def _credentials(request: Request, parameters: dict[str, str]) -> tuple[str, str]:
    """Return user and password; ways of giving them must not be mixed."""
    headers = request.headers
    ways = []
    if "x-clickhouse-user" in headers or "x-clickhouse-key" in headers:
        ways.append((headers.get("x-clickhouse-user", ""), headers.get("x-clickhouse-key", "")))
    if "authorization" in headers:
        ways.append(_basic(headers["authorization"]))
    if "user" in parameters or "password" in parameters:
        ways.append((parameters.get("user", ""), parameters.get("password", "")))
    if len(ways) > 1:
        text = "Invalid authentication: it is not allowed to use several ways of authentication simultaneously"
        raise Failure(516, text, "AUTHENTICATION_FAILED")
    user, password = ways[0] if ways else ("", "")
    return user or "default", password


def _basic(authorization: str) -> tuple[str, str]:
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() != "basic":
        text = f"Invalid authentication: '{scheme}' HTTP Authorization scheme is not supported"
        raise Failure(516, text, "AUTHENTICATION_FAILED")
    try:
        user, _, password = base64.b64decode(value).decode("utf-8", "surrogateescape").partition(":")
    except binascii.Error:
        raise Failure(516, "Invalid authentication: malformed Authorization header", "AUTHENTICATION_FAILED") from None
    return user, password
