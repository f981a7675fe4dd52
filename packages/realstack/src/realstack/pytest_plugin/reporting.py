"""What the plugin says: header, started services, failure sections, summary."""

import statistics
from collections import defaultdict
from typing import Any

import pytest

from realstack.pytest_plugin.state import State, Tally

_MOST_LEAKS = 20


def header(state: State) -> str:
    """Return the line of the pytest header."""
    config = state.config
    if not config.real_services:
        return f"realstack: real services are off ({config.source('real_services')})"
    words = [f"isolation {config.isolation}"]
    words += [word for word, on in (("verified", config.verify_isolation), ("required", config.require_services)) if on]
    if config.stack:
        words.append(f"stack {config.stack}")
    return f"realstack: real services on demand ({', '.join(words)})"


def started_lines(state: State) -> list[str]:
    """Return one line per service that runs."""
    if not state.has_stack:
        return []
    from dataclasses import asdict

    return [f"realstack: {_service_line(asdict(row))}" for row in state.stack.describe()]


def failure_sections(state: State, services: frozenset[str]) -> list[tuple[str, str]]:
    """Return a section per service the failed test asked for: where it is, and what it logged during the test."""
    if not state.has_stack:
        return []
    sections = []
    for service in state.stack.running():
        if service.key.service in services:
            server = service.server
            title = f"realstack: {service.key.label} {server.version} ({server.provider})"
            sections.append((title, f"{service.endpoint.safe_url}\n{service.log_of_test()}"))
    return sections


def write_summary(terminal: pytest.TerminalReporter, tally: Tally) -> None:
    """Write the section at the end of the run; nothing when the kit was not used."""
    lines = [
        *_service_lines(tally.services),
        *_skip_lines(tally),
        *_leak_lines(tally),
        *tally.news,
        *_kept_lines(tally),
    ]
    if not lines:
        return
    terminal.section("realstack")
    for line in lines:
        terminal.write_line(line)
    if tally.skips and not tally.ran:
        terminal.write_line("every selected test was skipped: nothing was proven, so the run fails", red=True)


def _service_line(row: dict[str, Any]) -> str:
    name = row["service"] if row["instance"] == "default" else f"{row['service']} {row['instance']}"
    line = f"{name} {row['version']} ({row['provider']}) ready in {row['started_in_s'] * 1000:.0f} ms"
    if row["resets_s"]:
        median = statistics.median(row["resets_s"]) * 1000
        line += f", {row['isolation']} {median:.2f} ms median over {len(row['resets_s'])} test(s)"
    return f"{line}; {row['note']}" if row["note"] else line


def _service_lines(rows: list[dict[str, Any]]) -> list[str]:
    """One line per service, the processes of a run added up."""
    together: dict[tuple[str, ...], dict[str, Any]] = {}
    processes: defaultdict[tuple[str, ...], int] = defaultdict(int)
    for row in rows:
        key = (row["service"], row["instance"], row["version"], row["provider"])
        processes[key] += 1
        first = together.setdefault(key, {**row, "resets_s": []})
        first["resets_s"] = [*first["resets_s"], *row["resets_s"]]
        first["started_in_s"] = max(first["started_in_s"], row["started_in_s"])
    return [
        _service_line(row) + (f" in {processes[key]} processes" if processes[key] > 1 else "")
        for key, row in together.items()
    ]


def _skip_lines(tally: Tally) -> list[str]:
    return [f"skipped {count} test(s), {service}: {reason}" for (service, reason), count in sorted(tally.skips.items())]


def _kept_lines(tally: Tally) -> list[str]:
    lines = [f"kept: {test}: {url}" for test, url in tally.kept]
    return [*lines, f"they stay until: realstack down --name {tally.left_running}"] if tally.left_running else lines


def _leak_lines(tally: Tally) -> list[str]:
    shown = [f"leak: {line}" for line in tally.leaks[:_MOST_LEAKS]]
    rest = len(tally.leaks) - len(shown)
    return [*shown, f"... and {rest} more leak(s)"] if rest > 0 else shown
