"""What all containers here have in common: the names of testcontainers' ``DockerContainer``, on a server of ours."""

import shlex
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from realstack.compat import say_once
from realstack.errors import CompatRefused, ContainerNotStarted

if TYPE_CHECKING:
    from realstack.abc import Server

_HOST = "127.0.0.1"
_NO_MEANING = {
    "name": "there is no container to name",
    "docker_client_kw": "Docker is not asked",
    "platform": "Docker is not asked",
}


class Container:
    """A server of its own from ``start`` to ``stop``; nothing of it is left then."""

    service: ClassVar[str]
    #: Names in the environment that are honoured.
    environment: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        image: str,
        *,
        port: int,
        env: Mapping[str, str] | None = None,
        command: str | list[str] | None = None,
        ports: Sequence[int] = (),
        volumes: Sequence[tuple[str, str, str]] = (),
        network: object = None,
        **kwargs: object,
    ) -> None:
        self.image, self.port = image, port
        self.env: dict[str, str] = dict(env or {})
        self.ports: dict[int, int | None] = dict.fromkeys((port, *ports))
        self.volumes: list[tuple[Path, str]] = []
        self._command: str | list[str] | None = command
        self._server: Server | None = None
        #: Where the running server keeps its data.
        self._data: Path | None = None
        for host, inside, mode in volumes:
            self.with_volume_mapping(host, inside, mode)
        if network is not None:
            self.with_network(network)
        for name, value in kwargs.items():
            self._pass_over(name, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(
            f"{type(self).__name__}.{name}: realstack runs this server without Docker, so there is no container to ask"
        )

    def __repr__(self) -> str:
        where = f"at {_HOST}:{self._server.endpoint.port}" if self._server else "not started"
        return f"<{type(self).__name__} {self.image!r} {where}>"

    # --- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start the server; returns when it answers.

        Raises:
            ServiceUnavailable: nobody here has the version the image names.
            CompatRefused: something was asked for that cannot be had.
        """
        if self._server is None:
            for name in sorted(self.env.keys() - self.environment):
                say_once(
                    f"{type(self).__name__}: {name} in its environment is passed over: the server does not read it"
                )
            try:
                self._server = self._start()
            except BaseException:
                self._delete_data()
                raise
        return self

    def stop(self, force: bool = True, delete_volume: bool = True) -> None:  # noqa: FBT001, FBT002  the original's
        """End the server; what it held is gone.

        Args:
            force: not used.
            delete_volume: not used.
        """
        del force, delete_volume
        server, self._server = self._server, None
        if server is not None:
            server.stop()
        self._delete_data()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def status(self) -> str:
        """``running`` or ``not_started``."""
        return "running" if self._server is not None and self._server.is_alive() else "not_started"

    # --- asking -------------------------------------------------------------------------------------------------------

    def get_container_host_ip(self) -> str:
        """Return the address the server answers at."""
        return _HOST

    def get_exposed_port(self, port: int) -> int:
        """Return the port on this machine where *port* of the container answers.

        Raises:
            ContainerNotStarted: it was not started, or is stopped.
            CompatRefused: nothing answers at *port*.
        """
        server = self._started()
        if int(port) != self.port:
            raise CompatRefused(
                what=f"port {port} of {type(self).__name__}({self.image!r})",
                why=f"realstack's {self.service} answers at {self.port} only",
                remedy=f"ask for get_exposed_port({self.port})",
            )
        return server.endpoint.port

    def get_logs(self) -> tuple[bytes, bytes]:
        """Return what the server logged, and nothing for its second stream."""
        log = self._started().log
        return (log.read_bytes() if log else b""), b""

    # --- asking for more ----------------------------------------------------------------------------------------------

    def with_env(self, key: str, value: str) -> Self:
        """Set a name in the container's environment."""
        self.env[key] = value
        return self

    def with_envs(self, **variables: str) -> Self:
        """Set names in the container's environment."""
        self.env.update(variables)
        return self

    def with_command(self, command: str | list[str]) -> Self:
        """Set the command; the server's settings in it are honoured, anything else is refused by ``start``."""
        self._command = command
        return self

    def with_exposed_ports(self, *ports: int | str) -> Self:
        """Note ports; each that the server has is reachable anyway."""
        self.ports = {**dict.fromkeys(_number(port) for port in ports), **self.ports}
        return self

    def with_bind_ports(self, container: int | str, host: int | str | None = None) -> Self:
        """Have the server answer at the port *host* of this machine."""
        self.ports[_number(container)] = None if host is None else _number(host)
        return self

    def with_volume_mapping(self, host: str | PathLike[str], container: str, mode: str = "ro") -> Self:
        """Note a file or folder of this machine for the container; what a service makes of it, it says."""
        del mode
        self.volumes.append((Path(host), container))
        return self

    def with_tmpfs_mount(self, container_path: str, size: str | None = None) -> Self:
        """Nothing to do: the data lies in memory where there is room."""
        del container_path, size
        return self

    def with_name(self, name: str) -> Self:
        """Pass the name over, aloud."""
        self._pass_over("name", name)
        return self

    def with_kwargs(self, **kwargs: object) -> Self:
        """Pass Docker's own arguments over, aloud."""
        for name, value in kwargs.items():
            self._pass_over(name, value)
        return self

    def waiting_for(self, strategy: object) -> Self:
        """Nothing to do: ``start`` returns when the server answers."""
        del strategy
        return self

    def maybe_emulate_amd64(self) -> Self:
        """Nothing to do: the server is this machine's own."""
        return self

    def with_network(self, network: object) -> Self:
        """Refuse: containers of Docker's could not reach the server."""
        raise CompatRefused(
            what=f"{type(self).__name__}.with_network({network!r})",
            why="the server runs on this machine, for this machine only, so no container can reach it",
            remedy="keep testcontainers' own class where containers talk to each other",
        )

    with_network_aliases = with_network

    # --- for the services ---------------------------------------------------------------------------------------------

    def _start(self) -> "Server":
        raise NotImplementedError(f"{type(self).__name__} does not say how to start")

    def _delete_data(self) -> None:
        """Free the memory now: a suite may start a container for every test, and the run ends with the process only."""
        import shutil

        data, self._data = self._data, None
        if data is not None:
            shutil.rmtree(data, ignore_errors=True)

    def _started(self) -> "Server":
        if self._server is None:
            raise ContainerNotStarted(container=f"{type(self).__name__}({self.image!r})")
        return self._server

    def _command_words(self) -> list[str]:
        """Return the command without the program it begins with."""
        words = shlex.split(self._command) if isinstance(self._command, str) else list(self._command or ())
        return words[1:] if words and not words[0].startswith("-") else words

    def _refused_word(self, word: str, remedy: str) -> CompatRefused:
        return CompatRefused(
            what=f"{word!r} in the command of {type(self).__name__}",
            why="only settings of the server can be given",
            remedy=remedy,
        )

    def _refuse_volume(self, host: Path, inside: str, remedy: str) -> CompatRefused:
        return CompatRefused(
            what=f"{str(host)!r} at {inside!r} in {type(self).__name__}",
            why="the server is not in a container, so it does not look there",
            remedy=remedy,
        )

    def _pass_over(self, name: str, value: object) -> None:
        if value is not None:
            why = _NO_MEANING.get(name, "realstack runs the server without Docker")
            say_once(f"{type(self).__name__}: {name}={value!r} is passed over: {why}")


def _number(port: int | str) -> int:
    return int(str(port).partition("/")[0])
