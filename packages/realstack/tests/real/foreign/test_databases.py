"""On somebody else's PostgreSQL or ClickHouse: a database of our own, gone with the run, and nothing else."""

import pytest

from realstack._core.supervision import Supervision
from realstack.abc import Installation
from realstack.errors import ForeignServerRefused
from realstack.providers.foreign import Journal, clean_foreign, create_foreign_database, foreign_name
from realstack.services.clickhouse.client import Client
from realstack.services.clickhouse.server import Closing, create_database, start_embedded
from realstack.services.endpoint import Endpoint
from realstack.services.postgres.wire import Connection

from .conftest import Neighbour

RUN = {"run": "8c1f", "worker": "gw0", "source": "DATABASE_URL"}


def databases(endpoint: Endpoint) -> set[str]:
    with Connection(endpoint) as connection:
        return {str(name) for (name,) in connection.query("SELECT datname FROM pg_database")}


def test_names_cannot_be_guessed_and_leave_room_for_suffixes() -> None:
    names = {foreign_name(run="A Run/With: Everything", worker="gw12-x") for _ in range(100)}

    assert len(names) == 100
    assert all(name.startswith("realstack_arunwithever_gw12x_") for name in names)
    assert max(map(len, names)) <= 46


def test_a_database_of_our_own_is_made_and_removed(
    foreign_postgres: Endpoint, postgres_neighbour: Neighbour, journal: Journal
) -> None:
    ours = create_foreign_database(foreign_postgres.with_database("shop"), journal=journal, **RUN)
    with Connection(ours) as connection:
        connection.script("CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 1000)")
    assert ours.database is not None
    assert ours.database.startswith("realstack_8c1f_gw0_")

    assert clean_foreign(journal._file) == ()

    assert ours.database not in databases(foreign_postgres)
    postgres_neighbour.check()
    assert clean_foreign(journal._file) == ()


def test_what_hangs_on_its_name_goes_with_it_templates_and_users_included(
    foreign_postgres: Endpoint, postgres_neighbour: Neighbour, journal: Journal
) -> None:
    ours = create_foreign_database(foreign_postgres, journal=journal, **RUN)
    theirs = f"{ours.database}x"  # begins like ours, is not ours
    with Connection(foreign_postgres) as connection:
        connection.query(f'CREATE DATABASE "{ours.database}_template" TEMPLATE "{ours.database}" IS_TEMPLATE true')
        connection.query(f'CREATE DATABASE "{ours.database}_1" ALLOW_CONNECTIONS false')
        connection.query(f'CREATE DATABASE "{theirs}"')
    with Connection(ours):  # somebody is still connected
        assert clean_foreign(journal._file) == ()

    assert {name for name in databases(foreign_postgres) if name.startswith("realstack")} == {theirs}
    with Connection(foreign_postgres) as connection:
        connection.query(f'DROP DATABASE "{theirs}"')
    postgres_neighbour.check()


def test_a_user_who_may_not_create_databases_is_told(foreign_postgres: Endpoint, journal: Journal) -> None:
    with Connection(foreign_postgres) as connection:
        connection.query("CREATE ROLE poor LOGIN")
    poor = Endpoint.parse("postgres", f"postgresql://poor:x@127.0.0.1:{foreign_postgres.port}/postgres")

    with pytest.raises(ForeignServerRefused, match="'poor' may not create a database") as caught:
        create_foreign_database(poor, journal=journal, **RUN)

    assert "CREATEDB" in str(caught.value)
    assert ":x@" not in str(caught.value)
    with Connection(foreign_postgres) as connection:
        connection.query("DROP ROLE poor")
    assert "left behind" in clean_foreign(journal._file)[0]  # nothing was made, and the user is gone


def test_a_database_that_is_not_there_yet_is_no_hindrance(foreign_postgres: Endpoint, journal: Journal) -> None:
    ours = create_foreign_database(foreign_postgres.with_database("not_yet"), journal=journal, **RUN)

    assert ours.database in databases(foreign_postgres)
    assert clean_foreign(journal._file) == ()
    assert ours.database not in databases(foreign_postgres)


@pytest.mark.parametrize("name", ["shop", "postgres", "realstack_x", 'realstack_"; DROP DATABASE shop; --'])
def test_a_journal_that_names_somebody_elses_database_is_not_believed(
    foreign_postgres: Endpoint, postgres_neighbour: Neighbour, journal: Journal, name: str
) -> None:
    journal.record({"kind": "postgres", "endpoint": foreign_postgres.to_json(), "name": name})

    assert "not a name this run can have made" in clean_foreign(journal._file)[0]
    postgres_neighbour.check()


def test_half_a_line_and_an_unknown_kind_keep_nothing_from_being_cleaned(
    foreign_postgres: Endpoint, journal: Journal
) -> None:
    journal.record({"kind": "mysql", "name": "x"})
    ours = create_foreign_database(foreign_postgres, journal=journal, **RUN)
    with journal._file.open("a") as file:
        file.write('{"kind": "postg')

    assert ["mysql" in problem for problem in clean_foreign(journal._file)] == [True]
    assert ours.database not in databases(foreign_postgres)


def test_clickhouse(supervision: Supervision, journal: Journal, tmp_path_factory: pytest.TempPathFactory) -> None:
    pytest.importorskip("chdb", reason="the chdb engine is not installed")
    installation = Installation(
        service="clickhouse",
        provider="wheel",
        version="26.9",
        folder=tmp_path_factory.mktemp("none"),
        origin="chdb-core",
    )
    server = start_embedded(
        installation, folder=supervision.run_folder / "ch", supervisor=supervision, settings={}, timeout_s=30
    )
    create_database(server.endpoint, "shop")
    with Closing(Client(server.endpoint.with_database("shop"))) as client:
        client.execute("CREATE TABLE orders (a Int32) ENGINE = MergeTree ORDER BY a")
        client.execute("INSERT INTO orders SELECT number FROM numbers(10)")

    ours = create_foreign_database(server.endpoint, journal=journal, **RUN)
    with Closing(Client(ours)) as client:
        client.execute("CREATE TABLE t (a Int32) ENGINE = MergeTree ORDER BY a")
        client.execute(f"CREATE DATABASE {ours.database}_2")
        assert clean_foreign(journal._file) == ()
    with Closing(Client(server.endpoint)) as client:
        found = {row[0] for row in client.query("SELECT name FROM system.databases")}
    assert not [name for name in found if name.startswith("realstack")]
    with Closing(Client(server.endpoint.with_database("shop"))) as client:
        assert client.query("SELECT count() FROM orders") == [(10,)]
    assert clean_foreign(journal._file) == ()
    server.stop()
