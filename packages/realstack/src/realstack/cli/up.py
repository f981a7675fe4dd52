"""``realstack up``: the project's services, running until Ctrl-C, or left running."""

import argparse
import threading
from typing import TYPE_CHECKING, Any

from realstack.cli.exits import FAILED, OK, UNAVAILABLE, USAGE, code_of
from realstack.cli.project import load_config, stack_name
from realstack.cli.terminal import Terminal

if TYPE_CHECKING:
    from realstack.config import Config
    from realstack.runner.keeper import Kept, KeptService
    from realstack.runner.services import WantedService
    from realstack.runtime.service import WorkerService
    from realstack.runtime.stack import Stack

_LOOK_EVERY_S = 1.0
#: A first start may run migrations and fetch a server.
_PATIENCE_S = 900.0
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
    from realstack.runner.services import named_services
    from realstack.runtime.stack import Stack

    terminal: Terminal = args.terminal
    if args.name and not args.detach:
        terminal.error("--name is the name of a stack that is left running\n  Try: realstack up --detach --name NAME")
        return USAGE
    settings = {"postgres_version": args.postgres_version}
    config = load_config(**settings)
    wanted = named_services(config, args.services)
    name = args.name or stack_name(config)
    if args.detach:
        _check_free(name, config)
    stack = Stack.open(config)
    if args.detach:
        return _leave(terminal, stack, wanted, settings, name=name, as_json=args.json)
    try:
        return _stay(terminal, stack, wanted, as_json=args.json)
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


def _leave(
    terminal: Terminal,
    stack: "Stack",
    wanted: "list[WantedService]",
    settings: dict[str, Any],
    *,
    name: str,
    as_json: bool,
) -> int:
    """Have a keeper hold the services, and give up the run once they are there."""
    from realstack.runner.keeper import start_keeper
    from realstack.runtime.detached import leave_running

    code = FAILED
    try:
        with terminal.progress(_starting(wanted)):
            kept = start_keeper(stack, wanted, command_line=settings, timeout_s=_PATIENCE_S)
        _print(terminal, kept, run_folder=str(stack.run_folder), name=name, as_json=as_json)
        code = _code_of(kept)
        if code == OK:
            leave_running(stack, name)
    except BaseException:
        stack.close()
        raise
    if code != OK:
        stack.close()
    elif not as_json:
        terminal.line(f"stack {name!r} is left running; tests use it with `pytest --stack {name}`")
        terminal.line(f"`realstack status` looks at it, `realstack down --name {name}` ends it")
    return code


def _stay(terminal: Terminal, stack: "Stack", wanted: "list[WantedService]", *, as_json: bool) -> int:
    """Wait for Ctrl-C; say when a server dies meanwhile."""
    from realstack.runner.keeper import kept_of
    from realstack.runner.services import start_services

    with terminal.progress(_starting(wanted)):
        came = start_services(stack, wanted)
    kept = kept_of(came)
    _print(terminal, kept, run_folder=str(stack.run_folder), name=None, as_json=as_json)
    if (code := _code_of(kept)) != OK:
        return code
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


def _starting(wanted: "list[WantedService]") -> str:
    return f"starting {', '.join(each.label for each in wanted)}"


def _code_of(kept: "Kept") -> int:
    """Judge: everything that had to be there is there, and something is."""
    import realstack.errors

    if kept.failure:
        return code_of(getattr(realstack.errors, kept.failure))
    return OK if kept.services else UNAVAILABLE


def _print(terminal: Terminal, kept: "Kept", *, run_folder: str, name: str | None, as_json: bool) -> None:
    """Print what runs to stdout and what does not to stderr."""
    if as_json:
        terminal.json(
            {
                "name": name,
                "run_folder": run_folder,
                "services": [_plain(service) for service in kept.services],
                "missing": [{"service": label, "reason": reason} for label, _required, reason in kept.missing],
            }
        )
    elif kept.services:
        rows = [
            (each.name, each.version, each.provider, each.safe_url, f"{each.started_in_s * 1000:.0f} ms")
            for each in kept.services
        ]
        terminal.table(rows, headers=HEADERS)
    for each in kept.services:
        if each.note:
            terminal.say(f"{each.name}: {each.note}", "dim")
    for label, required, reason in kept.missing:
        if required:
            terminal.error(reason)
        else:
            terminal.say(f"left out {label}: {reason}", "dim")


def _plain(service: "KeptService") -> dict[str, Any]:
    shown = ("service", "instance", "version", "provider", "url", "log")
    started = round(service.started_in_s * 1000, 1)
    return {**{name: getattr(service, name) for name in shown}, "started_in_ms": started}


def _lives(terminal: Terminal, service: "WorkerService") -> bool:
    if service.server.is_alive():
        return True
    from realstack._core.logtail import tail

    log = f"; its last log lines:\n{tail(service.log, lines=8)}" if service.log else ""
    terminal.error(f"{service.key.label} died{log}")
    return False
