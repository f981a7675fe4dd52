"""``python -m agent_backend.storage.migrate``: bring a database's schema up or down, or say where it is."""

import argparse
import sys
from collections.abc import Sequence

from agent_backend.errors import BackendError
from agent_backend.settings import load_settings
from agent_backend.storage.migrations import current_revision, migrate, roll_back
from agent_backend.storage.urls import mask_url


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0 done, 1 could not."""
    asked = _parser().parse_args(arguments)
    try:
        dsn = asked.database_url or load_settings().database_url.get_secret_value()
        if asked.action == "upgrade":
            migrate(dsn, asked.revision or "head")
        elif asked.action == "downgrade":
            roll_back(dsn, asked.revision)
        revision = current_revision(dsn)
    except BackendError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"{mask_url(dsn)} is at {revision or 'nothing'}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m agent_backend.storage.migrate", description=__doc__)
    parser.add_argument("--database-url", help="default: the setting DATABASE_URL")
    actions = parser.add_subparsers(dest="action", required=True)
    up = actions.add_parser("upgrade", help="bring the schema up, by default to the newest step")
    up.add_argument("revision", nargs="?")
    down = actions.add_parser("downgrade", help="bring the schema down; drops the data of the steps undone")
    down.add_argument("revision", help="a step's number, or base")
    actions.add_parser("current", help="say which step the database is at").set_defaults(revision=None)
    return parser


if __name__ == "__main__":
    sys.exit(main())
