"""The kit's own connection to Redis: synchronous, standard library only, RESP2, many commands in one round trip.

It exists for the same reason as its PostgreSQL sibling: importing redis-py costs more than starting a Redis server.
It is for the kit's administration; tests use the client of their choice.

Source: Redis manual, "Redis serialization protocol specification".
"""

import dataclasses
import socket
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from realstack.errors import EndpointInvalid, RedisRefused, ServerUnreachable

if TYPE_CHECKING:
    from realstack.services.endpoint import Endpoint

Argument: TypeAlias = str | bytes | int
Command: TypeAlias = Sequence[Argument]
Reply: TypeAlias = int | bytes | RedisRefused | list["Reply"] | None

ADMIN_NAME: Final = "realstack"
"""What the kit's own connections are called in ``CLIENT LIST``."""
_RECEIVE_BYTES: Final = 1 << 16


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """An endpoint as Redis understands it."""

    #: Path of its socket; ``None``: TCP.
    socket: str | None
    host: str
    port: int
    database: int
    tls: bool

    @classmethod
    def of(cls, endpoint: "Endpoint") -> "Place":
        """Read the database number and the socket out of *endpoint* (``redis``, ``rediss`` or ``unix``).

        Raises:
            EndpointInvalid: the database is not a number.
        """
        options = dict(endpoint.options)
        by_socket = endpoint.scheme == "unix"
        number = options.get("db") or ("0" if by_socket else endpoint.database or "0")
        if not number.isdecimal():
            reason = f"the database {number!r} must be a number"
            raise EndpointInvalid(service="redis", url=endpoint.safe_url, reason=reason)
        path = f"/{endpoint.database or ''}" if by_socket else endpoint.socket
        return cls(
            socket=path,
            host=endpoint.host,
            port=endpoint.port,
            database=int(number),
            tls=endpoint.scheme == "rediss",
        )


class Connection:
    """One open connection; not safe to share between threads.

    After a ``ServerUnreachable`` it is closed and stays so.
    """

    def __init__(self, endpoint: "Endpoint", *, timeout_s: float = 10.0, name: str | None = ADMIN_NAME) -> None:
        """Connect, authenticate and select the endpoint's database.

        Args:
            endpoint: where; its socket is preferred to host and port.
            timeout_s: seconds any one read may take; a server that stops answering is an error, not a hang.
            name: what ``CLIENT LIST`` shows; ``None`` says nothing.

        Raises:
            ServerUnreachable: nobody answers, or the password is refused; the URL in it is masked.
            RedisRefused: the server answered and said no (no such database, still loading ...).
            EndpointInvalid: the endpoint names no database number.
        """
        self._endpoint = endpoint
        self._place = Place.of(endpoint)
        self._received = bytearray()
        self._at = 0
        try:
            self._socket = self._open(timeout_s)
        except OSError as error:
            raise self._unreachable(error) from error
        try:
            self._greet(name)
        except BaseException:
            self.close()
            raise

    # --- asking -------------------------------------------------------------------------------------------------------

    def call(self, *command: Argument) -> Reply:
        """Run one command and return its reply; strings are bytes.

        Raises:
            RedisRefused: the server answered with an error.
        """
        reply = self.pipeline((command,))[0]
        if isinstance(reply, RedisRefused):
            raise reply
        return reply

    def pipeline(self, commands: Sequence[Command]) -> list[Reply]:
        """Run *commands* in one round trip; return one reply each, a refused one as the ``RedisRefused`` it is."""
        self.send(encode(commands))
        return [self.read(command) for command in commands]

    def send(self, raw: bytes) -> None:
        """Send what ``encode`` made; every command in it owes one ``read``."""
        try:
            self._socket.sendall(raw)
        except OSError as error:
            raise self._broken(error) from error

    def read(self, command: Command = ()) -> Reply:
        """Return the next reply; *command* is what a refusal is said to be about, by name only."""
        try:
            return self._read(command)
        except (OSError, ValueError) as error:
            raise self._broken(error) from error

    def skip(self, count: int, *, command: Command = ()) -> None:
        """Read *count* replies that are expected to be ``OK``; raise the first refusal after all of them."""
        refused: RedisRefused | None = None
        for _ in range(count):
            reply = self.read(command)
            if isinstance(reply, RedisRefused):
                refused = refused or reply
        if refused is not None:
            raise refused

    def set_timeout(self, timeout_s: float) -> None:
        """Change how many seconds any one read may take."""
        self._socket.settimeout(timeout_s)

    def close(self) -> None:
        """Close; safe to call twice and on a connection that is broken."""
        self._socket.close()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- connecting ---------------------------------------------------------------------------------------------------

    def _open(self, timeout_s: float) -> socket.socket:
        place = self._place
        if place.socket:
            opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            opened.settimeout(timeout_s)
            try:
                opened.connect(place.socket)
            except OSError:
                opened.close()
                raise
            return opened
        opened = socket.create_connection((place.host, place.port), timeout=timeout_s)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._encrypted(opened) if place.tls else opened

    def _encrypted(self, plain: socket.socket) -> socket.socket:
        """Speak TLS with the options redis-py knows: ``ssl_cert_reqs``, ``ssl_ca_certs``, ``ssl_certfile`` ..."""
        import ssl

        options = dict(self._endpoint.options)
        try:
            context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
            if options.get("ssl_check_hostname", "true").lower() in ("false", "0", "no"):
                context.check_hostname = False
            if options.get("ssl_cert_reqs", "required") in ("none", "CERT_NONE"):
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            if certificate := options.get("ssl_certfile"):
                context.load_cert_chain(certificate, options.get("ssl_keyfile"))
            return context.wrap_socket(plain, server_hostname=self._place.host)
        except OSError:  # ssl.SSLError is one
            plain.close()
            raise

    def _greet(self, name: str | None) -> None:
        endpoint = self._endpoint
        commands: list[Command] = []
        if endpoint.password is not None:
            who = [endpoint.user] if endpoint.user else []
            commands.append(["AUTH", *who, endpoint.password])
        if self._place.database:
            commands.append(["SELECT", self._place.database])
        if name:
            commands.append(["CLIENT", "SETNAME", name])
        for command, reply in zip(commands, self.pipeline(commands), strict=True):
            if not isinstance(reply, RedisRefused):
                continue
            if command[0] == "AUTH" or reply.message.startswith(("NOAUTH", "WRONGPASS")):
                raise self._unreachable(reply.message) from None
            if command[0] == "SELECT":
                raise reply
            # CLIENT SETNAME may be forbidden on somebody else's server; nothing depends on it

    # --- replies ------------------------------------------------------------------------------------------------------

    def _read(self, command: Command) -> Reply:
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"$":
            return None if rest == b"-1" else self._exactly(int(rest))
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if kind == b"*":
            return None if rest == b"-1" else [self._read(command) for _ in range(int(rest))]
        if kind == b"-":
            return RedisRefused(command=_name_of(command), message=_without_arguments(rest.decode(errors="replace")))
        raise ValueError(f"expected a reply, got {line[:20]!r}")

    def _line(self) -> bytes:
        while (end := self._received.find(b"\r\n", self._at)) < 0:
            self._receive()
        line = bytes(self._received[self._at : end])
        self._at = end + 2
        return line

    def _exactly(self, size: int) -> bytes:
        while len(self._received) < self._at + size + 2:
            self._receive()
        found = bytes(self._received[self._at : self._at + size])
        self._at += size + 2
        return found

    def _receive(self) -> None:
        """Wait for more; what was read already is forgotten first, so that the buffer holds one reply at the most."""
        if self._at == len(self._received):
            self._received.clear()
            self._at = 0
        elif self._at > _RECEIVE_BYTES:
            del self._received[: self._at]
            self._at = 0
        received = self._socket.recv(_RECEIVE_BYTES)
        if not received:
            raise ConnectionResetError("the server closed the connection")
        self._received += received

    def _broken(self, error: Exception) -> ServerUnreachable:
        """Close: after half a reply nobody knows what the next bytes belong to."""
        self.close()
        return self._unreachable(error)

    def _unreachable(self, error: Exception | str) -> ServerUnreachable:
        return ServerUnreachable(service="redis", url=self._endpoint.safe_url, reason=str(error))


def encode(commands: Iterable[Command]) -> bytes:
    """Return *commands* as they go over the wire."""
    parts: list[bytes] = []
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        for argument in command:
            raw = argument if isinstance(argument, bytes) else str(argument).encode()
            parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)


def _name_of(command: Command) -> str:
    """Only its name: arguments may be passwords."""
    if not command:
        return "a command"
    words = [str(word, "utf-8", "replace") if isinstance(word, bytes) else str(word) for word in command[:2]]
    with_subcommand = words[0].upper() in ("CONFIG", "ACL", "CLIENT", "FUNCTION", "SCRIPT", "MODULE", "DEBUG")
    return " ".join(words) if with_subcommand else words[0]


def _without_arguments(message: str) -> str:
    """Redis repeats the arguments of an unknown command, and those may be secrets."""
    return message.partition(", with args beginning with")[0]
