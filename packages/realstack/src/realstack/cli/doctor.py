"""``realstack doctor``: every setting with its source, every provider with what it offers, and does it work here."""

import argparse
from typing import TYPE_CHECKING, Any

from realstack.cli.exits import FAILED, OK
from realstack.cli.project import load_config
from realstack.cli.terminal import Terminal

if TYPE_CHECKING:
    from realstack.config import Config
    from realstack.runner.diagnosis import Findings


def add_parser(subparsers: Any, shared: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser = subparsers.add_parser(
        "doctor",
        parents=[shared],
        help="show every setting with its source, and try every service",
        description=(
            "Show each setting with its value and source, what each provider of each service offers or why not, "
            "and what this machine allows; start each service once. Exit 1 when a configured one cannot be had."
        ),
        allow_abbrev=False,
    )
    parser.add_argument("--no-start", action="store_true", help="look only, start nothing")
    parser.add_argument("--json", action="store_true", help="print JSON; secrets stay masked")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Find out, print, and judge."""
    from realstack.runner.diagnosis import look_around

    terminal: Terminal = args.terminal
    config = load_config()
    with terminal.progress("looking around" if args.no_start else "starting each service once"):
        found = look_around(config, start=not args.no_start)
    if args.json:
        terminal.json(found.to_plain())
    else:
        _print(terminal, config, found)
    return FAILED if any(trial.required and not trial.works for trial in found.trials) else OK


def _print(terminal: Terminal, config: "Config", found: "Findings") -> None:
    terminal.line(f"project {config.root}", "bold")
    terminal.table(list(found.versions.items()))
    terminal.line()
    terminal.table(found.settings, headers=("SETTING", "VALUE", "SOURCE"))
    for service, offers in found.offers.items():
        terminal.line()
        terminal.line(service, "bold")
        for offer in offers:
            terminal.line(f"  {offer.provider:<10} {offer.text}", "" if offer.available else "dim")
    if found.trials:
        terminal.line()
        terminal.line("started once", "bold")
    for trial in found.trials:
        bad = "red" if trial.required else "yellow"
        terminal.line(f"  {trial.service:<10} {trial.text}", "green" if trial.works else bad)
    terminal.line()
    terminal.line("this machine", "bold")
    for fact in found.facts:
        terminal.line(f"  {fact.name}: {fact.text}", "" if fact.good else "yellow")
