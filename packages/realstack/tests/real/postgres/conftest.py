"""Servers to try: every PostgreSQL that is here, in data folders of their own, under one supervisor."""

import gc
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from realstack._core.folders import data_folder, open_run_folder
from realstack._core.supervision import Supervision, start_supervisor
from realstack.abc import Installation
from realstack.errors import ServiceUnavailable
from realstack.providers.choice import find_installation
from realstack.services.postgres.cluster import make_cluster
from realstack.services.postgres.server import PostgresServer, start_postgres

PATH = "/usr/local/bin:/usr/bin:/bin"
NEED_BYTES = 128 * 2**20


class Lab:
    """Makes clusters and starts servers; whatever a test leaves running ends with it."""

    def __init__(self, supervisor: Supervision, cache: Path, installation: Installation) -> None:
        self.supervisor, self.cache, self.installation = supervisor, cache, installation
        self._numbers = itertools.count(1)
        self._started: list[PostgresServer] = []
        self.log = self.new_path("log")

    def new_path(self, kind: str) -> Path:
        return self.supervisor.run_folder / f"{kind}{self.installation.version}-{id(self):x}-{next(self._numbers)}"

    def new_data(self) -> Path:
        """A data folder that does not exist yet and will not outlive the run."""
        data = data_folder({}, need_bytes=NEED_BYTES).path
        self.supervisor.own_folder(data)
        return data

    def cluster(self, **more) -> Path:
        data = self.new_data()
        make_cluster(self.installation, data=data, cache=self.cache, supervisor=self.supervisor, log=self.log, **more)
        return data

    def start(self, data: Path | None = None, **more) -> PostgresServer:
        folder = more.pop("socket_folder", None) or self.supervisor.run_folder / f"s{id(self):x}-{next(self._numbers)}"
        server = start_postgres(
            self.installation,
            data=data or self.cluster(),
            socket_folder=folder,
            supervisor=self.supervisor,
            log=self.log,
            **more,
        )
        self._started.append(server)
        return server

    def close(self) -> None:
        for server in self._started:
            server.stop()


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def supervisor() -> Iterator[Supervision]:
    with start_supervisor(open_run_folder({})) as supervision:
        yield supervision


def installation_of(version: str, cache: Path) -> Installation:
    try:
        return find_installation("postgres", version=version, cache=cache, path=PATH, may_fetch=False)
    except ServiceUnavailable as missing:
        pytest.skip(str(missing.reasons))


@pytest.fixture
def lab(supervisor, cache) -> Iterator[Lab]:
    """The newest PostgreSQL of the wheel."""
    made = Lab(supervisor, cache, installation_of("18", cache))
    yield made
    made.close()


@pytest.fixture(params=["18", "16", "15"])
def each_lab(request, supervisor, cache) -> Iterator[Lab]:
    """Every version that is here, one after the other."""
    made = Lab(supervisor, cache, installation_of(request.param, cache))
    yield made
    made.close()


@pytest.fixture
def collected() -> Iterator[None]:
    """What the test dropped is collected before the next one begins."""
    yield
    gc.collect()
