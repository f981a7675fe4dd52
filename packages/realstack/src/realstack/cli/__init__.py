"""The command line: arguments and printing only; what a command does lies in the rooms below.

Nothing heavier than argparse is imported before a command runs, so that ``--help`` answers at once.
"""

import argparse
import signal
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from realstack.cli import doctor, down, install, run, status, up
from realstack.cli.exits import FAILED, INTERRUPTED, MEANING, code_of
from realstack.cli.terminal import Terminal

__all__ = ("COMMANDS", "main")

COMMANDS = (run, up, down, status, doctor, install)
"""Each has ``add_parser(subparsers, shared)``, whose parser sets ``command`` to its ``run(args) -> int``."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that *argv* names and return its exit code."""
    args = _parser().parse_args(argv)
    args.terminal = Terminal.of_this_process()
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _leave)
    try:
        return int(args.command(args))
    except KeyboardInterrupt:
        args.terminal.say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # `realstack doctor | head`: the reader has seen enough
        return FAILED
    except Exception as error:
        from realstack.errors import RealstackError

        if args.traceback or not isinstance(error, RealstackError):
            raise
        args.terminal.error(str(error))
        return code_of(error)


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--traceback", action="store_true", help="show where in the kit an error came from")
    parser = argparse.ArgumentParser(
        prog="realstack",
        description="Real PostgreSQL, Redis, ClickHouse and app servers for every test.",
        epilog=MEANING,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(subparsers, shared)
    return parser


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    """Leave the ordinary way, so that what was started is ended in order."""
    raise SystemExit(128 + number)
