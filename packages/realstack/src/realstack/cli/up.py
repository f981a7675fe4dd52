"""``realstack up``: the project's services, running until Ctrl-C, or left running."""

import argparse
import threading
from typing import TYPE_CHECKING, Any

from realstack.cli.exits import FAILED, OK, UNAVAILABLE, USAGE, code_of
from realstack.cli.project import load_config, stack_name
from realstack.cli.terminal import Terminal

if TYPE_CHECKING:
    from realstack.config import Config
    from realstack.runner.services import StartedServices
    from realstack.runtime.service import WorkerService
    from realstack.runtime.stack import Stack

_LOOK_EVERY_S = 1.0
HEADERS = ("SERVICE", "VERSION", "PROVIDER", "URL", "READY IN")


def add_parser(subparsers: Any, shared: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "up",
        parents=[shared],
        help="start the project's services",
        description="Start services and keep them until Ctrl-C; with --detach leave them running.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "services",
        nargs="*",
        metavar="SERVICE",
        help="postgres, redis, clickhouse, app, or postgres.analytics (default: all there are)",
    )
    parser.add_argument("--detach", action="store_true", help="leave them running; `realstack down` ends them")
    parser.add_argument("--name", help="what the stack that is left running is called (default: the project's folder)")
    parser.add_argument("--postgres-version", metavar="VERSION", help="the PostgreSQL to start, such as 16 or '>=15'")
    parser.add_argument("--json", action="store_true", help="print JSON, with URLs that hold their passwords")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Start what was asked for, print it, and wait or leave."""
    from realstack.runner.services import named_services, start_services
    from realstack.runtime.stack import Stack

    terminal: Terminal = args.terminal
    config = load_config(postgres_version=args.postgres_version)
    if args.name and not args.detach:
        terminal.error("--name is the name of a stack that is left running\n  Try: realstack up --detach --name NAME")
        return USAGE
    wanted = named_services(config, args.services)
    name = args.name or stack_name(config)
    if args.detach:
        _check_free(name, config)
    stack = Stack.open(config)
    try:
        with terminal.progress(f"starting {', '.join(each.label for each in wanted)}"):
            came = start_services(stack, wanted)
        _print(terminal, came, run_folder=str(stack.run_folder), name=name if args.detach else "", as_json=args.json)
        if (failure := came.first_failure) is not None or not came.started:
            return code_of(failure) if failure else UNAVAILABLE
        if args.detach:
            return _leave(terminal, stack, name, quiet=args.json)
        return _stay(terminal, came)
    finally:
        stack.close()


def _check_free(name: str, config: "Config") -> None:
    """Refuse a name that is taken before anything is started."""
    from realstack.errors import ConfigInvalid
    from realstack.runtime.detached import find_detached

    taken = find_detached(name, cache_folder=config.cache_folder)
    if taken is not None:
        wanted = f"a name no running stack has; that one belongs to {taken.root} (`realstack down --name {name}`)"
        raise ConfigInvalid(key="--name", value=repr(name), source="the command line", wanted=wanted)


def _print(terminal: Terminal, came: "StartedServices", *, run_folder: str, name: str, as_json: bool) -> None:
    """Print what runs to stdout and what does not to stderr."""
    if as_json:
        services = [
            {
                "service": wanted.service,
                "instance": wanted.instance,
                "version": service.describe().version,
                "provider": service.describe().provider,
                "url": service.endpoint.url,
                "started_in_ms": round(service.started_in_s * 1000, 1),
                "log": str(service.log) if service.log else None,
            }
            for wanted, service in came.started
        ]
        missing = [{"service": wanted.label, "reason": str(error)} for wanted, error in came.missing]
        terminal.json({"name": name or None, "run_folder": run_folder, "services": services, "missing": missing})
        return
    if came.started:
        terminal.table(
            [
                (wanted.label, row.version, row.provider, row.url, f"{row.started_in_s * 1000:.0f} ms")
                for wanted, row in came.rows
            ],
            headers=HEADERS,
        )
        for wanted, row in came.rows:
            if row.note:
                terminal.say(f"{wanted.label}: {row.note}", "dim")
    for wanted, error in came.missing:
        if wanted.required:
            terminal.error(str(error))
        else:
            terminal.say(f"left out {wanted.label}: {error}", "dim")


def _leave(terminal: Terminal, stack: "Stack", name: str, *, quiet: bool) -> int:
    from realstack.runtime.detached import leave_running

    leave_running(stack, name)
    if not quiet:
        terminal.line(f"stack {name!r} is left running; tests use it with `pytest --stack {name}`")
        terminal.line(f"`realstack status` looks at it, `realstack down --name {name}` ends it")
    return OK


def _stay(terminal: Terminal, came: "StartedServices") -> int:
    """Wait for Ctrl-C; say when a server dies meanwhile."""
    terminal.say("running until Ctrl-C", "dim")
    alive = [service for _wanted, service in came.started]
    never = threading.Event()
    try:
        while alive:
            never.wait(_LOOK_EVERY_S)
            alive = [service for service in alive if _lives(terminal, service)]
    except KeyboardInterrupt:
        terminal.say("ending")
        return OK
    return FAILED


def _lives(terminal: Terminal, service: "WorkerService") -> bool:
    if service.server.is_alive():
        return True
    from realstack._core.logtail import tail

    log = f"; its last log lines:\n{tail(service.log, lines=8)}" if service.log else ""
    terminal.error(f"{service.key.label} died{log}")
    return False
