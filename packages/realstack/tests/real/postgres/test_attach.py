import socket

import pytest

from realstack._core.waiting import NotReady, wait_until
from realstack.errors import ServerUnreachable
from realstack.services.endpoint import Endpoint
from realstack.services.postgres.attach import attach, server_facts

# a connection that is refused leaves its socket to the garbage collector, which is made to run here and not later
pytestmark = [
    pytest.mark.usefixtures("collected"),
    pytest.mark.filterwarnings(
        "ignore:unclosed:ResourceWarning", "ignore:.*socket.socket.*:pytest.PytestUnraisableExceptionWarning"
    ),
]


@pytest.fixture
def guarded(lab):
    """A server that asks an ordinary user for a password."""
    data = lab.cluster()
    (data / "pg_hba.conf").write_text("local all postgres trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
    server = lab.start(data)
    server.connection.query("create role app login createdb password 'ses@me/x'")
    server.connection.query("create database shop owner app")
    return server


def endpoint_of(server, *, password="ses@me/x", database="shop"):
    return Endpoint(
        service="postgres",
        port=server.endpoint.port,
        user="app",
        password=password,
        database=database,
        host="127.0.0.1",
    )


def test_a_foreign_server_is_described_without_changing_it(guarded):
    attached = attach(endpoint_of(guarded))

    assert attached.version == guarded.version
    assert attached.provider == "url"
    assert attached.log is None
    assert attached.is_alive()
    facts = attached.facts
    assert (facts.user, facts.database) == ("app", "shop")
    assert (facts.is_superuser, facts.can_create_databases, facts.can_create_roles) == (False, True, False)
    assert not facts.is_read_only
    assert {"plpgsql", "vector"} <= facts.extensions


def test_a_superuser_may_do_everything(lab):
    facts = server_facts(lab.start().endpoint)

    assert facts.is_superuser
    assert facts.can_create_databases
    assert facts.can_create_roles
    assert facts.can_replicate


def test_stopping_a_foreign_server_does_nothing_to_it(guarded):
    attach(endpoint_of(guarded)).stop()

    guarded.check()
    assert guarded.connection.query("select 1") == [("1",)]


def test_a_foreign_server_that_ends_is_noticed(guarded):
    attached = attach(endpoint_of(guarded))
    guarded.stop()

    def gone():
        if attached.is_alive():
            raise NotReady("it answers")

    wait_until(gone, timeout_s=5)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"password": "sesame-street"}, "password authentication failed"), ({"database": "nowhere"}, "nowhere")],
)
def test_a_refusal_is_an_error_without_the_password(guarded, wrong, said):
    with pytest.raises(ServerUnreachable) as caught:
        attach(endpoint_of(guarded, **wrong))

    assert said in caught.value.reason
    assert "ses" not in str(caught.value).replace("sessions", "")


def test_nobody_listening_is_an_error_that_names_the_url():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(ServerUnreachable) as caught:
        attach(Endpoint.parse("postgres", f"postgresql://app:sesame@127.0.0.1:{port}/shop"))

    assert f"127.0.0.1:{port}/shop" in str(caught.value)
    assert "sesame" not in str(caught.value)
    assert "refused" in caught.value.reason
