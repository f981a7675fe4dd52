"""Provider ``container``: which image, and the refusal where no engine answers."""

import socket
import threading
from pathlib import Path

import pytest

from realstack.errors import ConfigInvalid, ServiceUnavailable
from realstack.providers.container import IMAGES, image_for, start_container
from realstack.providers.engine import Engine, find_engine
from realstack.providers.foreign import Journal, clean_foreign


@pytest.mark.parametrize("service", IMAGES)
def test_without_an_engine_the_refusal_is_quick_and_says_what_to_do(
    service: str, journal: Journal, tmp_path: Path
) -> None:
    environ = {"DOCKER_HOST": f"unix://{tmp_path}/docker.sock"}

    with pytest.raises(ServiceUnavailable) as caught:
        start_container(service, version=None, run="r", journal=journal, environ=environ)

    assert caught.value.tried[0][0] == "container"
    assert "No such file" in str(caught.value)
    assert "realstack[container]" in str(caught.value)
    assert not journal._file.exists()


def test_a_socket_nobody_listens_on_and_one_that_never_answers_are_no_engines(tmp_path: Path) -> None:
    dead = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(dead))
    assert "refused" in Engine(f"unix://{dead}").ping()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "mute.sock"))
        listener.listen()
        assert "timed out" in Engine(f"unix://{tmp_path}/mute.sock").ping()


def test_what_speaks_something_else_is_no_engine(tmp_path: Path) -> None:
    path = tmp_path / "else.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def answer() -> None:
            with listener.accept()[0] as client:
                client.recv(4096)
                client.sendall(b"-ERR unknown command\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert "no container engine" in Engine(f"unix://{path}").ping()
        thread.join()


@pytest.mark.parametrize("address", ["ssh://host", "npipe:////./pipe/docker", "nonsense", "tcp://"])
def test_addresses_that_are_not_understood_say_so(address: str) -> None:
    engine, reason = find_engine({"DOCKER_HOST": address})

    assert engine is None
    assert address in reason
    assert "only unix:// and tcp://" in reason


def test_no_socket_at_all(tmp_path: Path) -> None:
    if any(Path(path).exists() for path in ("/var/run/docker.sock", "/run/podman/podman.sock")):
        pytest.skip("an engine lives on this machine")
    engine, reason = find_engine({"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)})

    assert engine is None
    assert "neither Docker nor Podman" in reason


@pytest.mark.parametrize(
    ("service", "version", "image"),
    [
        ("postgres", None, "postgres:18.4-alpine"),
        ("postgres", "16", "postgres:16.14-alpine"),
        ("postgres", ">=15", "postgres:18.4-alpine"),
        ("postgres", "<16", "postgres:15.18-alpine"),
        ("postgres", "15.3", "postgres:15.3-alpine"),
        ("postgres", "9", None),
        ("redis", None, "redis:7.4.2-alpine"),
        ("redis", "8", "redis:8.0.0-alpine"),
        ("redis", "6.2.6", "redis:6.2.6-alpine"),
        ("redis", ">9", None),
        ("clickhouse", "24.8", "clickhouse/clickhouse-server:24.8"),
    ],
)
def test_the_wanted_version_is_honoured_or_refused(service: str, version: str | None, image: str | None) -> None:
    assert image_for(service, version) == image


def test_images_are_pinned_and_a_bad_version_is_said() -> None:
    assert all("latest" not in image and ":" in image for images in IMAGES.values() for image in images.values())
    with pytest.raises(ConfigInvalid, match="newest"):
        image_for("redis", "newest")


def test_a_journal_with_a_container_whose_engine_is_gone_says_so(journal: Journal, tmp_path: Path) -> None:
    name = "realstack-r-redis-0123456789ab"
    journal.record({"kind": "container", "address": f"unix://{tmp_path}/gone.sock", "name": name})

    assert clean_foreign(journal._file) == (
        f"'{name}' at container is left behind: [Errno 2] No such file or directory",
    )


@pytest.fixture
def engine() -> Engine:
    engine, reason = find_engine({})
    if engine is None:
        pytest.skip(f"no container engine: {reason}")
    return engine


@pytest.mark.soak
@pytest.mark.parametrize("service", IMAGES)
def test_a_container_starts_and_is_removed_by_the_journal(engine: Engine, service: str, journal: Journal) -> None:
    server = start_container(service, version=None, run="r", journal=journal, environ={})

    assert server.is_alive()
    assert clean_foreign(journal._file) == ()
    assert not server.is_alive()
