"""One server a version, one template with every kind of object, one worker database that each test hands back clean."""

import dataclasses
import difflib
import itertools
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from realstack._core.folders import data_folder, open_run_folder
from realstack._core.supervision import Supervision, start_supervisor
from realstack.abc import Installation, ResetOutcome
from realstack.errors import ServiceUnavailable
from realstack.isolation.postgres.clone import ClonePool
from realstack.isolation.postgres.reset import ResetIsolation
from realstack.isolation.postgres.template import build_template, clone_database, drop_database, run_files
from realstack.providers.choice import find_installation
from realstack.services.endpoint import Endpoint
from realstack.services.postgres.cluster import make_cluster
from realstack.services.postgres.server import PostgresServer, start_postgres
from realstack.services.postgres.wire import Connection

PATH = "/usr/local/bin:/usr/bin:/bin"
ZOO = Path(__file__).with_name("zoo.sql")
#: Names that differ from run to run of pg_dump itself.
NOISE = re.compile(r"^(--|\\(un)?restrict|SET |SELECT pg_catalog.set_config)")
#: What pg_dump leaves to pg_dumpall, and pg_dumpall to nobody.
SHARED = (
    "SELECT to_jsonb(a) FROM pg_authid a",
    "SELECT roleid::regrole, member::regrole, admin_option FROM pg_auth_members",
    "SELECT datname, setrole::regrole, setconfig FROM pg_db_role_setting s LEFT JOIN pg_database d"
    " ON d.oid = s.setdatabase",
    "SELECT datname, datacl, datdba::regrole FROM pg_database WHERE datname !~ '^realstack_'",
    "SELECT spcname FROM pg_tablespace",
    "SELECT slot_name FROM pg_replication_slots",
    "SELECT gid FROM pg_prepared_xacts",
    "SELECT description, objoid IN (SELECT oid FROM pg_authid) FROM pg_shdescription",
    "SELECT pg_read_file('postgresql.auto.conf')",
)
numbers = itertools.count(1)


@pytest.fixture(scope="session")
def supervisor() -> Iterator[Supervision]:
    with start_supervisor(open_run_folder({})) as supervision:
        yield supervision


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


class Lab:
    """One running server and what is needed to look at it from outside."""

    def __init__(self, supervisor: Supervision, cache: Path, version: str, **settings: str) -> None:
        try:
            self.installation: Installation = find_installation(
                "postgres", version=version, cache=cache, path=PATH, may_fetch=False
            )
        except ServiceUnavailable as missing:
            pytest.skip(str(missing.reasons))
        data = data_folder({}, need_bytes=256 * 2**20).path
        supervisor.own_folder(data)
        number = next(numbers)
        log = supervisor.run_folder / f"log{number}"
        make_cluster(self.installation, data=data, cache=cache, supervisor=supervisor, log=log)
        self.server: PostgresServer = start_postgres(
            self.installation,
            data=data,
            socket_folder=supervisor.run_folder / f"s{number}",
            supervisor=supervisor,
            log=log,
            settings=settings,
        )
        self.admin: Endpoint = self.server.endpoint.with_database("postgres")
        self.major = int(self.installation.version.partition(".")[0])

    def ask(self, sql: str, *params: str | int | None, database: str = "postgres") -> list[tuple[str | None, ...]]:
        with Connection(self.admin.with_database(database), application_name="asker") as connection:
            return connection.query(sql, *params)

    def run_tool(self, tool: str, *arguments: str) -> str:
        where = ["-h", str(self.admin.socket), "-p", str(self.admin.port), "-U", "postgres", "--no-password"]
        done = subprocess.run(
            [str(self.installation.folder / tool), *where, *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def dump(self, database: str) -> list[str]:
        """Everything pg_dump and pg_dumpall know, rows in no particular order."""
        text = self.run_tool("pg_dump", "--exclude-schema=realstack", database)
        with Connection(self.admin) as connection:
            shared = [(sql, sorted(connection.query(sql), key=repr)) for sql in SHARED]
        return [*sorted_rows(text), *(f"{sql}: {row}" for sql, rows in shared for row in rows)]


def sorted_rows(dump: str) -> list[str]:
    lines: list[str] = []
    block: list[str] | None = None
    for line in dump.splitlines():
        if block is not None:
            if line == "\\.":
                lines += [*sorted(block), line]
                block = None
            else:
                block.append(line)
        elif not NOISE.match(line) and line:
            lines.append(line)
            if line.startswith("COPY ") and line.endswith("FROM stdin;"):
                block = []
    return lines


class World:
    """A worker's database under reset isolation, and its baseline as pg_dump saw it."""

    def __init__(self, lab: Lab, template: str, name: str = "test") -> None:
        self.lab, self.name, self.template = lab, name, template
        self.endpoint = clone_database(lab.admin, template, name=name)
        self.pool = ClonePool(lab.admin, template, eager=False)
        self.isolation = ResetIsolation(self.endpoint, pool=self.pool, grace_s=0.3)
        self.baseline = lab.dump(name)
        self.is_clean = True

    def connect(self, name: str = "the test", user: str | None = None, database: str | None = None) -> Connection:
        """A connection such as a test opens; its reads time out, so that a lock is an error and not a hang."""
        where = self.endpoint.with_database(database or self.name)
        return Connection(dataclasses.replace(where, user=user or where.user), application_name=name)

    def reset(self) -> ResetOutcome:
        self.is_clean = False
        return self.isolation.reset()

    def differences(self) -> list[str]:
        """What pg_dump sees now and did not see before, and the other way round."""
        now = self.lab.dump(self.name)
        lines = difflib.unified_diff(self.baseline, now, n=0, lineterm="")
        found = [line for line in lines if line[:2] not in ("--", "++", "@@")]
        self.is_clean = not found
        return found

    def close(self) -> None:
        self.isolation.close()
        self.pool.close()
        drop_database(self.lab.admin, self.name)


#: The newest and the oldest here, each time; those between in long runs.
VERSIONS = ("18", pytest.param("16", marks=pytest.mark.soak), "15")


@pytest.fixture(scope="session")
def labs(supervisor, cache) -> Iterator[dict[str, Lab]]:
    started: dict[str, Lab] = {}
    yield started
    for lab in started.values():
        lab.server.stop()


def lab_of(labs: dict[str, Lab], supervisor: Supervision, cache: Path, version: str) -> Lab:
    if version not in labs:
        labs[version] = Lab(supervisor, cache, version)
    return labs[version]


@pytest.fixture(params=VERSIONS, scope="session")
def each_lab(request, labs, supervisor, cache) -> Lab:
    return lab_of(labs, supervisor, cache, request.param)


@pytest.fixture(scope="session")
def lab(labs, supervisor, cache) -> Lab:
    """The newest."""
    return lab_of(labs, supervisor, cache, "18")


def make_world(lab: Lab) -> World:
    def zoo(endpoint: Endpoint) -> None:
        with Connection(lab.admin) as connection:
            connection.script(ROLES)
        run_files(endpoint, [ZOO])
        if lab.major >= 18:
            with Connection(endpoint) as connection:
                connection.script(
                    "CREATE TABLE virtual (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) VIRTUAL)"
                )

    build_template(lab.admin, "realstack_template_zoo", [zoo])
    return World(lab, "realstack_template_zoo")


ROLES = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'app') THEN
        CREATE ROLE app LOGIN; CREATE ROLE readers; GRANT readers TO app; ALTER ROLE app SET statement_timeout = '30s';
        COMMENT ON ROLE app IS 'the application';
    END IF;
END $$
"""


@pytest.fixture(scope="session")
def worlds(labs) -> Iterator[dict[int, World]]:
    made: dict[int, World] = {}
    yield made
    for world in made.values():
        world.close()


def clean_world(worlds: dict[int, World], lab: Lab) -> World:
    if lab.major not in worlds:
        worlds[lab.major] = make_world(lab)
    world = worlds[lab.major]
    world.isolation.begin("test")
    world.is_clean = False
    return world


def give_back(worlds: dict[int, World], world: World) -> None:
    """A test that left something behind must not fail the next one."""
    if not world.is_clean and world.differences():
        worlds.pop(world.lab.major).close()


@pytest.fixture
def each_world(each_lab, worlds) -> Iterator[World]:
    """Every version that is here, one after the other."""
    world = clean_world(worlds, each_lab)
    yield world
    give_back(worlds, world)


@pytest.fixture
def world(lab, worlds) -> Iterator[World]:
    world = clean_world(worlds, lab)
    yield world
    give_back(worlds, world)
