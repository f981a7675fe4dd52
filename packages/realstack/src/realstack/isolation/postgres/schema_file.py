"""Schema and seed files: run them, and say file and line when PostgreSQL refuses something."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from realstack.errors import ExtensionMissing, SchemaFileFailed, SqlFailed
from realstack.isolation.postgres._session import quoted
from realstack.services.postgres.wire import Connection

if TYPE_CHECKING:
    from realstack.services.endpoint import Endpoint


def run_files(endpoint: "Endpoint", files: Iterable[Path]) -> None:
    """Run *files* in order in the database of *endpoint*."""
    with Connection(endpoint) as connection:
        for file in files:
            try:
                connection.script(file.read_text(encoding="utf-8"))
            except SqlFailed as error:
                text = error.statement[: error.position or 0]
                raise SchemaFileFailed(
                    path=str(file), line=text.count("\n") + 1, sqlstate=error.sqlstate, message=error.message
                ) from error


def create_extensions(endpoint: "Endpoint", names: Iterable[str]) -> None:
    """Create the extensions *names*, with what they depend on."""
    with Connection(endpoint) as connection:
        for name in names:
            try:
                connection.query(f"CREATE EXTENSION IF NOT EXISTS {quoted(name)} CASCADE")
            except SqlFailed as error:
                server = f"PostgreSQL {connection.server_version} at {endpoint.safe_url}"
                raise ExtensionMissing(extension=name, server=server) from error
