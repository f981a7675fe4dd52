"""What testcontainers' documentation does with its containers works on the kit, after one changed line, without Docker.

The original is not put beside it here: it needs Docker.
"""

from collections.abc import Iterator
from pathlib import Path

import asyncpg
import clickhouse_connect
import psycopg
import pytest
import redis
import sqlalchemy

from realstack.compat import CompatWarning
from realstack.compat.testcontainers._image import wanted_version
from realstack.compat.testcontainers.clickhouse import ClickHouseContainer
from realstack.compat.testcontainers.community.postgres import PostgresContainer as NewerName
from realstack.compat.testcontainers.postgres import PostgresContainer
from realstack.compat.testcontainers.redis import AsyncRedisContainer, RedisContainer
from realstack.errors import CompatRefused, ContainerNotStarted, ServiceUnavailable

from ..fix_project import Project

SUITE = """
    import psycopg
    import pytest
    import redis

    from realstack.compat.testcontainers.postgres import PostgresContainer
    from realstack.compat.testcontainers.redis import RedisContainer


    @pytest.fixture(scope="module")
    def postgres():
        with PostgresContainer("postgres:16-alpine", driver=None) as container:
            with psycopg.connect(container.get_connection_url()) as session:
                session.execute("CREATE TABLE users (name text)")
            yield container


    @pytest.fixture(scope="module")
    def cache():
        with RedisContainer() as container:
            yield container.get_client()


    @pytest.mark.parametrize("turn", range(3))
    def test_tests_share_what_is_in_a_container(postgres, cache, turn):
        with psycopg.connect(postgres.get_connection_url()) as session:
            assert session.execute("SELECT count(*) FROM users").fetchone() == (turn,)
            session.execute("INSERT INTO users VALUES ('a')")
        assert cache.incr("count") == turn + 1
"""


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresContainer]:
    with PostgresContainer("postgres:16-alpine") as container:
        yield container


def test_sqlalchemy_connects_with_the_url(postgres: PostgresContainer) -> None:
    engine = sqlalchemy.create_engine(postgres.get_connection_url(driver="psycopg"))
    with engine.begin() as connection:
        found = connection.execute(sqlalchemy.text("SELECT version(), current_user, current_database()")).one()
    engine.dispose()

    assert found[0].startswith("PostgreSQL 16.")
    assert found[1:] == ("test", "test")


def test_the_url_names_the_driver_of_the_constructor_unless_told_otherwise(postgres: PostgresContainer) -> None:
    place = f"test:test@127.0.0.1:{postgres.get_exposed_port(5432)}/test"

    assert postgres.get_connection_url() == f"postgresql+psycopg2://{place}"
    assert postgres.get_connection_url(driver=None) == f"postgresql://{place}"
    assert postgres.get_connection_url(driver="asyncpg") == f"postgresql+asyncpg://{place}"
    assert postgres.get_connection_url(host="db", driver=None).startswith("postgresql://test:test@db:")


async def test_user_password_and_database_are_as_asked_for() -> None:
    with NewerName("postgres:latest", username="An User", password="p@ss/'w", dbname="shop-db", driver=None) as other:
        place = {"host": other.get_container_host_ip(), "port": other.get_exposed_port(5432), "database": "shop-db"}
        connection = await asyncpg.connect(**place, user="An User", password="p@ss/'w")
        facts = await connection.fetchrow(
            "SELECT current_user AS who, rolsuper, pg_get_userbyid(datdba) AS owner"
            " FROM pg_roles, pg_database WHERE rolname = current_user AND datname = current_database()"
        )
        await connection.close()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(**place, user="An User", password="wrong")

    assert dict(facts) == {"who": "An User", "rolsuper": True, "owner": "An User"}


def test_a_container_begins_empty_and_ends_with_its_block(postgres: PostgresContainer) -> None:
    with PostgresContainer(driver=None) as other:
        url = other.get_connection_url()
        with psycopg.connect(url) as session:
            session.execute("CREATE TABLE mine (x int)")
            session.execute("CREATE ROLE visitor")
            (gone,) = session.execute("SHOW data_directory").fetchone()
        with psycopg.connect(postgres.get_connection_url(driver=None)) as beside:
            assert beside.execute("SELECT to_regclass('mine')").fetchone() == (None,)
            assert beside.execute("SELECT count(*) FROM pg_roles WHERE rolname = 'visitor'").fetchone() == (0,)
            (data,) = beside.execute("SHOW data_directory").fetchone()
        assert b"database system is ready" in other.get_logs()[0]

    assert Path(data).exists()
    assert not Path(gone).exists()
    assert other.status == "not_started"
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    with pytest.raises(ContainerNotStarted, match="is not running"):
        other.get_connection_url()
    with other.start(), psycopg.connect(other.get_connection_url()) as session:
        assert session.execute("SELECT to_regclass('mine')").fetchone() == (None,)


@pytest.mark.parametrize(
    "command", ["postgres -c max_connections=33 -c work_mem=7MB", ["-c", "max_connections=33", "--work-mem=7MB"]]
)
def test_settings_in_the_command_and_files_of_the_init_folder_are_honoured(
    tmp_path: Path, command: str | list[str]
) -> None:
    (tmp_path / "2_rows.sql").write_text("INSERT INTO rooms VALUES (7);")
    (tmp_path / "1_tables.sql").write_text("CREATE TABLE rooms (x int);")
    container = PostgresContainer(driver=None).with_command(command)
    container.with_volume_mapping(tmp_path, "/docker-entrypoint-initdb.d").with_env(
        "POSTGRES_HOST_AUTH_METHOD", "trust"
    )

    with container, psycopg.connect(container.get_connection_url().replace("test:test", "test:any")) as session:
        found = session.execute("SELECT current_setting('max_connections'), current_setting('work_mem'), x FROM rooms")
        assert found.fetchone() == ("33", "7MB", 7)


def test_redis_answers_with_the_password_and_settings_asked_for() -> None:
    with RedisContainer("redis:6.2", password="secret").with_command("redis-server --maxmemory 10mb") as container:
        client = container.get_client(decode_responses=True)
        assert client.set("a", 1)
        assert client.config_get("maxmemory")["maxmemory"] == "10485760"
        assert client.info("server")["redis_version"].startswith("6.2")
        client.close()
        port = container.get_exposed_port(6379)
        stranger = redis.Redis(host=container.get_container_host_ip(), port=port)
        with stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()

    with redis.Redis(port=port) as late, pytest.raises(redis.ConnectionError):
        late.ping()


async def test_redis_has_an_asynchronous_client() -> None:
    with AsyncRedisContainer() as container:
        client = await container.get_async_client(decode_responses=True)
        await client.set("a", "1")
        assert await client.get("a") == "1"
        await client.aclose()


def test_clickhouse_answers_by_http() -> None:
    with ClickHouseContainer(username="reader", password="secret", dbname="facts") as container:
        client = clickhouse_connect.get_client(
            host=container.get_container_host_ip(),
            port=container.get_exposed_port(8123),
            username="reader",
            password="secret",
            database="facts",
        )
        client.command("CREATE TABLE t (x Int32) ENGINE = MergeTree ORDER BY x")
        client.command("INSERT INTO facts.t VALUES (1)")
        assert client.query("SELECT * FROM t").result_rows == [(1,)]
        client.close()
        with pytest.raises(CompatRefused, match="without the native protocol"):
            container.get_connection_url()


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("postgres", None),
        ("postgres:latest", None),
        ("postgres:alpine", None),
        ("docker.io/library/postgres:16.4-bookworm@sha256:ab", "16.4"),
        ("pgvector/pgvector:pg17", "17"),
        ("pgvector/pgvector:0.8.0-pg16", "16"),
    ],
)
def test_the_image_says_which_version_is_wanted(image: str, version: str | None) -> None:
    assert wanted_version(image, {"postgres": "plain", "pgvector/pgvector": "pg"}) == version


def test_a_version_nobody_has_is_refused() -> None:
    with pytest.raises(ServiceUnavailable, match=r"PostgreSQL 9\.4 is not available"):
        PostgresContainer("postgres:9.4").start()


@pytest.mark.parametrize(
    ("ask", "why"),
    [
        (lambda: PostgresContainer("postgis/postgis:16").start(), "knows no other image"),
        (lambda: PostgresContainer().with_command("postgres -c port=1").start(), "'port=1' in the command"),
        (lambda: PostgresContainer().with_command("postgres --single").start(), "'--single' in the command"),
        (
            lambda: PostgresContainer().with_volume_mapping("/srv", "/var/lib/postgresql/data").start(),
            "not in a container",
        ),
        (lambda: PostgresContainer().with_network("net"), "no container can reach it"),
        (lambda: RedisContainer().with_command("redis-server /etc/redis.conf").start(), "only settings of the server"),
        (lambda: RedisContainer().with_bind_ports(6379, 16379).start(), "picks a free port"),
    ],
)
def test_what_cannot_be_had_is_refused(ask, why) -> None:
    with pytest.raises(CompatRefused, match=why):
        ask()


def test_what_makes_no_sense_here_is_said() -> None:
    with pytest.warns(CompatWarning, match="name='db' is passed over"):
        container = PostgresContainer(name="db")
    with pytest.raises(AttributeError, match="there is no container to ask"):
        container.get_wrapped_container()


@pytest.mark.parametrize("workers", [(), ("-n", "2", "--dist", "loadfile")], ids=["one process", "two workers"])
def test_suites_share_containers_as_they_did_and_nothing_is_left(project: Project, workers: tuple[str, ...]) -> None:
    project.write(test_one=SUITE, test_two=SUITE)
    project.env["TMPDIR"] = str(project.folder / "t")
    (project.folder / "t").mkdir()

    done = project.run_pytest("-p", "no:realstack", *workers)

    done.assert_outcomes(passed=6)
    assert not [left for left in (project.folder / "t").glob("realstack*/*") if left.is_dir()]
