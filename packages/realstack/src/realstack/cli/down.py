"""``realstack down``: end a stack that was left running."""

import argparse
from typing import TYPE_CHECKING, Any

from realstack.cli.exits import OK
from realstack.cli.project import load_config
from realstack.cli.terminal import Terminal

if TYPE_CHECKING:
    from realstack.config import Config


def add_parser(subparsers: Any, shared: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "down",
        parents=[shared],
        help="end stacks left running by `up --detach`",
        description="End this project's stacks, their servers and folders; or one by name; or all.",
        allow_abbrev=False,
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--name", help="the stack to end")
    which.add_argument("--all", action="store_true", help="every stack of this user, of other projects too")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """End what was meant, and say what that was."""
    from realstack.runtime.detached import stop_detached

    terminal: Terminal = args.terminal
    config = load_config()
    names = [args.name] if args.name else _running(config, every=args.all)
    for name in names:
        with terminal.progress(f"ending {name}"):
            stop_detached(name, cache_folder=config.cache_folder)
        if not args.json:
            terminal.line(f"stack {name!r} is down")
    if args.json:
        terminal.json({"down": names})
    elif not names:
        terminal.line("no stack is running" if args.all else f"no stack of {config.root} is running")
    return OK


def _running(config: "Config", *, every: bool) -> list[str]:
    from realstack.runtime.detached import list_detached

    found = list_detached(cache_folder=config.cache_folder)
    return [stack.name for stack in found if every or stack.root == str(config.root)]
