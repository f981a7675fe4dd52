"""A run that makes things on servers that are not its own and is then killed; started by ``test_killed.py``."""

import sys
from pathlib import Path

from realstack._core.supervision import start_supervisor
from realstack.isolation.redis import ClaimedIsolation
from realstack.providers.foreign import Journal, claim_redis, create_foreign_database
from realstack.services.endpoint import Endpoint
from realstack.services.postgres.wire import Connection as Postgres
from realstack.services.redis.wire import Connection as Redis


def main(run_folder: str, postgres_url: str, redis_url: str, how: str) -> None:
    supervision = start_supervisor(Path(run_folder))
    journal = Journal(Path(run_folder) / "foreign.journal", supervisor=supervision)
    postgres = create_foreign_database(
        Endpoint.parse("postgres", postgres_url), run="killed", worker="gw0", journal=journal, source="the test"
    )
    claim = claim_redis(Endpoint.parse("redis", redis_url), run="killed", journal=journal)
    isolation = ClaimedIsolation(claim, version="6.2")
    isolation.begin("a test")
    with Postgres(postgres) as connection, Redis(claim.endpoint, name="app") as client:
        connection.script("CREATE TABLE t (a int); BEGIN; INSERT INTO t VALUES (1)")
        client.pipeline([("SET", "k", 1), ("MULTI",)])
        sys.stdout.write(f"{postgres.database} {claim.database}\n")
        sys.stdout.flush()
        if how == "wait":
            sys.stdin.read()
        if how == "raise":
            raise RuntimeError
    isolation.close()


main(*sys.argv[1:])
