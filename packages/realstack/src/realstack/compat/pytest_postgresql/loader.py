"""What ``load`` may hold, and how each is run on the template: SQL files, callables, ``module:function``."""

import hashlib
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from realstack.services.endpoint import Endpoint

Load = Callable[..., Any] | str | Path


def sql(sql_filename: Path, **kwargs: Any) -> None:
    """Run a SQL file through psycopg, as the original's loader of this name does."""
    import psycopg

    with psycopg.connect(**kwargs) as connection:
        connection.execute(Path(sql_filename).read_bytes())


def build_loader(load: Load) -> Callable[..., Any]:
    """Return what is called with ``host port user dbname password autocommit`` to do what *load* says."""
    if isinstance(load, Path):
        return partial(sql, load)
    if isinstance(load, str):
        from importlib import import_module

        path, _, name = re.sub(":", ".", load).rpartition(".")
        loader: Callable[..., Any] = getattr(import_module(path), name)
        return loader
    return load


def loading_step(load: Load, *, autocommit: bool) -> "Callable[[Endpoint], None]":
    """Return *load* as a step of a template, run as the endpoint's user."""

    def step(endpoint: "Endpoint") -> None:
        if isinstance(load, Path):
            # runs each statement by itself and names file and line when one is refused
            from realstack.isolation.postgres.template import run_files

            run_files(endpoint, [load])
            return
        build_loader(load)(
            host=endpoint.host,
            port=endpoint.port,
            user=endpoint.user,
            dbname=endpoint.database,
            password=endpoint.password,
            autocommit=autocommit,
        )

    return step


def identities(loads: Sequence[Load]) -> list[str]:
    """Return what tells these loads from others, the same in every process of a run."""
    return [text for load in loads for text in _identity(load)]


def _identity(load: Load) -> list[str]:
    if isinstance(load, Path):
        return [str(load.resolve()), hashlib.sha256(load.read_bytes()).hexdigest() if load.is_file() else "missing"]
    if isinstance(load, partial):
        return ["partial", *_identity(load.func), _plain(load.args), _plain(sorted(load.keywords.items()))]
    if isinstance(load, str):
        return [load]
    return [getattr(load, "__module__", ""), getattr(load, "__qualname__", type(load).__qualname__)]


def _plain(value: object) -> str:
    """Return ``repr`` without addresses in memory, which differ from process to process."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))
