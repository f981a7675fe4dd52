"""``realstack status``: the stacks that were left running, and how their servers are."""

import argparse
from typing import TYPE_CHECKING, Any

from realstack.cli.exits import FAILED, OK
from realstack.cli.project import load_config
from realstack.cli.terminal import Terminal

if TYPE_CHECKING:
    from realstack.runner.inspection import ServiceStatus
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
    from realstack.runner.inspection import services_of
    from realstack.runtime.detached import list_detached

    terminal: Terminal = args.terminal
    running = list_detached(cache_folder=load_config().cache_folder)
    stacks = [stack for stack in running if args.name in (None, stack.name)]
    if args.name and not stacks:
        raise StackGone(stack=args.name)
    looked_at = [(stack, services_of(stack.run_folder)) for stack in stacks]
    if args.json:
        terminal.json([_plain(stack, services) for stack, services in looked_at])
    else:
        _print(terminal, looked_at)
    return OK if all(each.alive for _stack, services in looked_at for each in services) else FAILED


def _plain(stack: "DetachedStack", services: "list[ServiceStatus]") -> dict[str, Any]:
    shown = ("service", "instance", "version", "provider", "url", "log")
    return {
        "name": stack.name,
        "root": stack.root,
        "run_folder": str(stack.run_folder),
        "services": [
            {**{name: getattr(each.kept, name) for name in shown}, "alive": each.alive, "clients": each.clients}
            for each in services
        ],
    }


def _print(terminal: Terminal, looked_at: "list[tuple[DetachedStack, list[ServiceStatus]]]") -> None:
    if not looked_at:
        terminal.line("no stack is running")
    for stack, services in looked_at:
        terminal.line(f"{stack.name}  ({stack.root})", "bold")
        rows = [
            (
                each.kept.name,
                each.kept.version,
                each.kept.provider,
                "alive" if each.alive else "dead",
                "-" if each.clients is None else str(each.clients),
                each.kept.safe_url,
                each.kept.log or "-",
            )
            for each in services
        ]
        terminal.table(rows, headers=("SERVICE", "VERSION", "PROVIDER", "STATE", "CLIENTS", "URL", "LOG"))
