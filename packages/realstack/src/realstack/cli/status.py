"""``realstack status``: the stacks that were left running, and how their servers are."""

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any

from realstack.cli.exits import FAILED, OK
from realstack.cli.project import load_config
from realstack.cli.terminal import Terminal

if TYPE_CHECKING:
    from realstack.runner.inspection import ServerStatus
    from realstack.runtime.detached import DetachedStack


def add_parser(subparsers: Any, shared: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "status",
        parents=[shared],
        help="look at stacks left running",
        description="Show every stack left running by `up --detach`: servers, clients, logs. Exit 1 when one is dead.",
        allow_abbrev=False,
    )
    parser.add_argument("--name", help="only this stack")
    parser.add_argument("--json", action="store_true", help="print JSON, with URLs that hold their passwords")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Print every stack with its servers."""
    from realstack.errors import StackGone
    from realstack.runner.inspection import servers_of
    from realstack.runtime.detached import list_detached

    terminal: Terminal = args.terminal
    running = list_detached(cache_folder=load_config().cache_folder)
    stacks = [stack for stack in running if args.name in (None, stack.name)]
    if args.name and not stacks:
        raise StackGone(stack=args.name)
    looked_at = [(stack, servers_of(stack.run_folder)) for stack in stacks]
    if args.json:
        terminal.json([_plain(stack, servers) for stack, servers in looked_at])
    else:
        _print(terminal, looked_at)
    return OK if all(server.alive for _stack, servers in looked_at for server in servers) else FAILED


def _plain(stack: "DetachedStack", servers: "list[ServerStatus]") -> dict[str, Any]:
    return {
        "name": stack.name,
        "root": stack.root,
        "run_folder": str(stack.run_folder),
        "servers": [{k: v for k, v in dataclasses.asdict(server).items() if k != "safe_url"} for server in servers],
    }


def _print(terminal: Terminal, looked_at: "list[tuple[DetachedStack, list[ServerStatus]]]") -> None:
    if not looked_at:
        terminal.line("no stack is running")
    for stack, servers in looked_at:
        terminal.line(f"{stack.name}  ({stack.root})", "bold")
        rows = [
            (
                server.name,
                server.version,
                server.provider,
                "alive" if server.alive else "dead",
                "-" if server.connections is None else str(server.connections),
                server.safe_url,
                server.log or "-",
            )
            for server in servers
        ]
        terminal.table(rows, headers=("SERVICE", "VERSION", "PROVIDER", "STATE", "CLIENTS", "URL", "LOG"))
