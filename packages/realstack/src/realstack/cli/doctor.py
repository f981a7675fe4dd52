"""``realstack doctor``: every setting with its source, every provider with what it offers, and does it work here."""

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any

from realstack.cli.exits import FAILED, OK
from realstack.cli.project import load_config
from realstack.cli.terminal import Terminal

if TYPE_CHECKING:
    from realstack.config import Config
    from realstack.runner.diagnosis import Fact, Offer


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Findings:
    """Everything doctor prints."""

    versions: dict[str, str]
    settings: list[tuple[str, str, str]]
    offers: dict[str, list["Offer"]]
    trials: list["Trial"]
    facts: list["Fact"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """What came of starting one service."""

    service: str
    required: bool
    works: bool
    text: str


def run(args: argparse.Namespace) -> int:
    """Find out, print, and judge."""
    terminal: Terminal = args.terminal
    config = load_config()
    with terminal.progress("looking around" if args.no_start else "starting each service once"):
        found = _look(config, start=not args.no_start)
    if args.json:
        terminal.json(dataclasses.asdict(found))
    else:
        _print(terminal, config, found)
    return FAILED if any(trial.required and not trial.works for trial in found.trials) else OK


def _look(config: "Config", *, start: bool) -> Findings:
    from realstack.config import NAMED_SERVICES, read_environment, render
    from realstack.runner.diagnosis import machine_facts, offers_of, versions
    from realstack.runtime.stack import Stack

    environ = read_environment()
    offers = {service: offers_of(service, config, environ=environ) for service in NAMED_SERVICES}
    if not start:
        facts = machine_facts(config, None)
        return Findings(versions=versions(), settings=render(config), offers=offers, trials=[], facts=facts)
    stack = Stack.open(config)
    try:
        trials = _try(stack, config)
        facts = machine_facts(config, stack)
    finally:
        stack.close()
    return Findings(versions=versions(), settings=render(config), offers=offers, trials=trials, facts=facts)


def _try(stack: Any, config: "Config") -> list[Trial]:
    from realstack.runner.services import configured_services, start_services

    came = start_services(stack, configured_services(config))
    works = [
        Trial(
            service=wanted.label,
            required=wanted.required,
            works=True,
            text=f"{row.version} from {row.provider}, ready in {row.started_in_s * 1000:.0f} ms"
            + (f"; {row.note}" if row.note else ""),
        )
        for wanted, row in came.rows
    ]
    fails = [
        Trial(service=wanted.label, required=wanted.required, works=False, text=str(error))
        for wanted, error in came.missing
    ]
    return [*works, *fails]


def _print(terminal: Terminal, config: "Config", found: Findings) -> None:
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
