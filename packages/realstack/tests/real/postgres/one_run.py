"""One whole run in a process of its own: `one_run.py CACHE`; prints what became of it as JSON.

Started by tests as another user, without user namespaces, or with another /dev/shm.
"""

import json
import os
import sys
from pathlib import Path

from realstack._core.folders import data_folder, open_run_folder
from realstack._core.supervision import start_supervisor
from realstack.providers.choice import find_installation
from realstack.services.postgres.cluster import make_cluster
from realstack.services.postgres.server import start_postgres

PARALLEL = """
create table t as select g from generate_series(1, 200000) g;
set max_parallel_workers_per_gather = 2; set min_parallel_table_scan_size = 0;
set parallel_setup_cost = 0; set parallel_tuple_cost = 0;
select count(*) from t
"""


def main() -> None:
    cache = Path(sys.argv[1])
    installation = find_installation("postgres", version="16", cache=cache, path="/nowhere", may_fetch=False)
    said = {}
    with start_supervisor(open_run_folder({})) as supervisor:
        run = supervisor.run_folder
        place = data_folder({}, need_bytes=2**27)
        supervisor.own_folder(place.path)
        log = run / "postgres.log"
        make_cluster(installation, data=place.path, cache=cache, supervisor=supervisor, log=log)
        server = start_postgres(installation, data=place.path, socket_folder=run / "s", supervisor=supervisor, log=log)
        folder = place.path / "space"
        folder.mkdir()
        os.chown(folder, *_owner(server.pid))
        server.connection.query(f"create tablespace space location '{folder}'")
        said = {
            "user": Path(f"/proc/{server.pid}").stat().st_uid,
            "namespace": Path(f"/proc/{server.pid}/uid_map").read_text() != Path("/proc/self/uid_map").read_text(),
            "count": server.connection.script(PARALLEL)[0][0],
            "in_memory": place.in_memory,
            "reason": place.reason,
        }
    said["left"] = [str(each) for each in (run, place.path) if each.exists()]
    sys.stdout.write(json.dumps(said))


def _owner(pid: int) -> tuple[int, int]:
    status = Path(f"/proc/{pid}").stat()
    return status.st_uid, status.st_gid


if __name__ == "__main__":
    main()
