"""The PostgreSQL server of a run: started once, from an archive that already holds the templates and first databases.

The first run with a schema pays for it once: the server is started, the templates are made, the server is stopped, and
its folder is packed before any test has touched it. Every later run unpacks that archive and boots.
"""

import os
from collections.abc import Callable
from pathlib import Path
from shutil import rmtree

from realstack._core.clock import SYSTEM_CLOCK
from realstack._core.digest import digest_of
from realstack._core.filelock import locked
from realstack.abc import Installation
from realstack.errors import ServerStartFailed
from realstack.isolation.postgres.template import build_template, clone_database, create_extensions, run_files
from realstack.providers.choice import find_installation
from realstack.runtime.plan import DatabasePlan, ServerPlan
from realstack.runtime.prepared import forget_prepared, keep_prepared, mark_whole, open_prepared
from realstack.runtime.run import Run
from realstack.runtime.sharing import SharedServer
from realstack.services.endpoint import Endpoint
from realstack.services.postgres.cluster import cluster_archive, make_cluster
from realstack.services.postgres.server import PostgresServer, start_postgres

#: Room asked for in memory: a cluster with some templates, and what tests write.
_NEED_BYTES = 256 * 1024 * 1024
#: Prepared clusters kept in the cache; the least recently used go first.
_KEEP = 12
_BUILD_TIMEOUT_S = 600.0


def start_server(run: Run, plan: ServerPlan, *, port: int | None = None) -> SharedServer:
    """Start the server of *plan* with everything in it, and return what the run's processes need to know of it.

    Args:
        run: the run it is for.
        plan: what it is to hold.
        port: where the one before it was, which died; taken again if it is free, so that every URL stays good.
    """
    began = SYSTEM_CLOCK.now_s()
    installation = find_installation(
        "postgres",
        providers=plan.config.providers,
        version=plan.config.version,
        extensions=plan.extensions,
        cache=run.config.cache_folder,
        path=run.environ.get("PATH", os.defpath),
    )
    place = run.new_data_folder(need_bytes=_NEED_BYTES)
    server = _Starter(run, plan, installation, place.path, port).start_prepared()
    server.connection.close()
    return SharedServer(
        endpoint=server.endpoint,
        version=server.version,
        provider=server.provider,
        log=server.log,
        started_in_s=SYSTEM_CLOCK.now_s() - began,
        pid=server.pid,
        facts={
            "origin": installation.origin,
            "note": "" if place.in_memory else f"data on disk: {place.reason}",
            "prepared": [each.database for each in plan.databases],
            "data": str(place.path),
        },
    )


class _Starter:
    """What starting one server takes, in steps."""

    def __init__(self, run: Run, plan: ServerPlan, installation: Installation, data: Path, port: int | None) -> None:
        self._port = port
        self._run, self._plan, self._installation, self._data = run, plan, installation, data
        self._folder = run.new_folder(plan.label)
        self._distrust_cache = False
        base = cluster_archive(installation, cache=run.config.cache_folder)
        self._prepared = base.with_name(f"{base.stem}-{digest_of([plan.digest])}.ready")

    def start_prepared(self) -> PostgresServer:
        """Start the server with everything in it, made now if this is the first run that wants it."""
        if (server := self._start_kept()) is not None:
            return server
        self._prepared.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(self._prepared.with_suffix(".lock"), timeout_s=_BUILD_TIMEOUT_S):
            # another run may have made it while this one waited
            return self._start_kept() or self._build()

    def _start_kept(self) -> PostgresServer | None:
        """Start what is kept; ``None`` when nothing is, or when it turns out to be damaged."""
        unpacking = open_prepared(self._prepared, self._data)
        if unpacking is None:
            return None
        try:
            return self._start(database=self._plan.databases[0].database)
        except ServerStartFailed:
            # files changed on disk, or a setting the server refuses: that one is met, and told, by the next start
            unpacking.wait()
            forget_prepared(self._prepared)
            rmtree(self._data)
            self._distrust_cache = True
            return None

    def _start(self, *, database: str = "postgres") -> PostgresServer:
        if self._port is not None:
            try:
                return self._start_at(self._port, database)
            except ServerStartFailed as error:
                if "Address already in use" not in error.log_tail:
                    raise
                self._port = None
        return self._start_at(None, database)

    def _start_at(self, port: int | None, database: str) -> PostgresServer:
        return start_postgres(
            self._installation,
            data=self._data,
            socket_folder=self._folder,
            supervisor=self._run.supervision,
            log=self._folder / "postgres.log",
            settings=self._plan.config.settings,
            name=self._plan.label,
            port=port,
            database=database,
            timeout_s=self._run.config.start_timeout_s,
        )

    def _build(self) -> PostgresServer:
        """Make the cluster, its templates and first databases; keep it; start it again."""
        make_cluster(
            self._installation,
            data=self._data,
            cache=self._run.config.cache_folder,
            supervisor=self._run.supervision,
            log=self._folder / "initdb.log",
            fresh=self._distrust_cache,
        )
        server = self._start()
        try:
            for plan in self._plan.databases:
                build_database(server.endpoint, plan, run=self._run, template=plan.template, first=plan.database)
            oids = self._oids_wanted_later(server)
        except BaseException:
            server.stop()
            raise
        server.stop(keep_data=True)
        keep_prepared(self._data, self._prepared, later=oids)
        _forget_old(self._prepared)
        mark_whole(self._data)
        return self._start()

    def _oids_wanted_later(self, server: PostgresServer) -> list[str]:
        # postgres and template1 are for everybody from the first moment on, as on any server
        first = {"postgres", "template1", *(plan.database for plan in self._plan.databases)}
        rows = server.connection.query("SELECT oid, datname FROM pg_database")
        return [str(oid) for oid, name in rows if name not in first]


def build_database(
    admin: Endpoint, plan: DatabasePlan, *, run: Run, template: str, first: str | None, track: bool = True
) -> None:
    """Make what *plan* says on a running server: the template, and the *first* database from it.

    Without *track*, which takes a superuser, copies of it can only be replaced.
    """
    config = plan.config
    steps: list[Callable[[Endpoint], None]] = []
    if config.extensions:
        steps.append(lambda endpoint: create_extensions(endpoint, config.extensions))
    if config.schema:
        steps.append(lambda endpoint: run_files(endpoint, config.schema))
    if (setup := plan.setup) is not None:
        steps.append(lambda endpoint: setup.run(endpoint.url, environ=run.environ, timeout_s=_BUILD_TIMEOUT_S))
    if config.seed:
        steps.append(lambda endpoint: run_files(endpoint, config.seed))
    build_template(admin, template, steps, track=track)
    if first is not None:
        clone_database(admin, template, name=first)


def _forget_old(newest: Path) -> None:
    """Keep the clusters used last; a lost one is made again."""
    kept = sorted(newest.parent.glob("*.ready"), key=lambda path: path.stat().st_mtime, reverse=True)
    for prepared in kept[_KEEP:]:
        forget_prepared(prepared)
        prepared.with_suffix(".lock").unlink(missing_ok=True)
