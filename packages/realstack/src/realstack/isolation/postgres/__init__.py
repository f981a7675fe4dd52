"""How a test gets a PostgreSQL database of its own: ``reset`` (the default), ``clone``, ``transaction`` or ``auto``."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from realstack.abc import Isolation
    from realstack.isolation.postgres.clone import ClonePool
    from realstack.services.endpoint import Endpoint

__all__ = ("Strategy", "open_isolation")

Strategy = Literal["reset", "clone", "transaction", "auto"]


def open_isolation(
    strategy: Strategy,
    endpoint: "Endpoint",
    *,
    pool: "ClonePool",
    ours: bool = True,
    memory: Path | None = None,
    verifying: bool = False,
    spare: Callable[[int], bool] = lambda _port: False,
    alone: Callable[[], bool] = lambda: True,
) -> "Isolation":
    """Return the isolation *strategy* for a worker's database; ``clone`` where the user may do nothing else.

    Args:
        strategy: what was asked for.
        endpoint: the worker's database, a copy of the pool's template.
        pool: where fresh copies come from; stays the caller's.
        ours: the server was started by this run.
        memory: where ``auto`` keeps what it learned; ``None`` forgets it with the process.
        verifying: ``verify`` will be called.
        spare: true for the client's TCP port of a connection that is no leak.
        alone: false while another process has a database on this server, connected at the moment or not.
    """
    from realstack.isolation.postgres.private import CloneIsolation

    if strategy == "clone":
        return CloneIsolation(endpoint, pool=pool, ours=ours, spare=spare, alone=alone)
    # on a server of ours we are a superuser and made the database ourselves: asking costs 3 ms of every start
    if not ours and (problem := _not_resettable(endpoint)):
        reason = f"{strategy!r} is not possible: {problem}"
        return CloneIsolation(endpoint, pool=pool, ours=ours, spare=spare, alone=alone, reason=reason)
    from realstack.isolation.postgres.reset import ResetIsolation

    reset = ResetIsolation(endpoint, pool=pool, ours=ours, verifying=verifying, spare=spare, alone=alone)
    if strategy == "transaction":
        from realstack.isolation.postgres.transaction import TransactionIsolation

        return TransactionIsolation(reset)
    if strategy == "auto":
        from realstack.isolation.postgres.auto import AutoIsolation, StrategyMemory

        return AutoIsolation(reset, pool=pool, memory=StrategyMemory(memory))
    return reset


def _not_resettable(endpoint: "Endpoint") -> str:
    """Say what is missing for putting tables back in place; empty when nothing is."""
    from realstack.isolation.postgres._session import is_superuser
    from realstack.isolation.postgres.tracking import is_installed
    from realstack.services.postgres.wire import Connection

    with Connection(endpoint) as connection:
        if not is_superuser(connection):
            user = endpoint.user or "the user"
            return f"{user} is no superuser, who alone may watch DDL and switch triggers off"
        if not is_installed(connection):
            return f"database {endpoint.database!r} was not made from a tracked template"
    return ""
