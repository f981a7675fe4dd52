"""The figures as Markdown, for people, and as JSON, for programs."""

import json
from collections.abc import Mapping, Sequence

from benchmarks.figures import Figure, Table

_HEAD = """# Benchmarks

Written by `make bench`; run it to get yours. realstack beside its peers and beside fixtures written by hand, all
measured in one run, in turns, each in a pytest process of its own with nothing but the plugin under test loaded and
its bytecode compiled. Every peer has the same PostgreSQL and Redis as the kit, in memory unless it says on disk;
pytest-postgresql with its default settings, the fixtures written by hand with the kit's (`fsync = off` ...).

Each row is a median with the middle half of the values (from a quarter to three quarters) and the 95th percentile; *n*
is how many values there are. *Ratio* compares a row's median with the first row's. A target is a median, or a median
and a 95th percentile; it is held against this run on this machine, whatever else the machine was doing.
"""


def to_markdown(tables: Sequence[Table], *, machine: Mapping[str, str], took_s: float, quick: bool) -> str:
    """Return the page of the documentation."""
    lines = [_HEAD]
    if quick:
        lines.append("**A quick run: few repetitions, only small schemas. Not for quoting.**\n")
    lines += ["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in machine.items())]
    lines += [f"| the run took | {took_s:.0f} s |", ""]
    for table in tables:
        lines += _section(table)
    return "\n".join(lines).rstrip() + "\n"


def to_json(tables: Sequence[Table], *, machine: Mapping[str, str], took_s: float, quick: bool) -> str:
    """Return everything as JSON."""
    plain = [
        {
            "number": table.number,
            "title": table.title,
            "unit": table.unit,
            "figures": [each.to_plain() for each in table.figures],
        }
        for table in tables
    ]
    return json.dumps({"machine": machine, "took_s": took_s, "quick": quick, "tables": plain}, indent=2) + "\n"


def _section(table: Table) -> list[str]:
    lines = [f"## {table.title} ({table.number})", ""]
    if table.explanation:
        lines += [table.explanation, ""]
    has_whole = any(each.whole is not None for each in table.figures)
    whole, align = (" whole test |", " ---: |") if has_whole else ("", "")
    lines += [
        f"| {table.unit} | median | middle half | p95 | n | ratio |{whole} target | |",
        f"| --- | ---: | ---: | ---: | ---: | ---: |{align} ---: | --- |",
    ]
    first = table.figures[0].median
    return [*lines, *(_row(each, first, has_whole=has_whole) for each in table.figures), ""]


def _row(each: Figure, first: float, *, has_whole: bool) -> str:
    plain = each.to_plain()
    name = f"**{each.case}**" if each.ours else each.case
    half = f"{_number(plain['q1'])} – {_number(plain['q3'])}"  # noqa: RUF001  a dash between two numbers
    target = "" if each.target is None else _number(each.target)
    if each.target_p95 is not None:
        target += f", p95 {_number(each.target_p95)}"
    verdict = {None: "", True: "reached", False: "**not reached**"}[each.reached]
    ratio = f"{_number(each.median / first)} ×" if first > 0 else ""  # noqa: RUF001  the sign for times
    numbers = f"{_number(each.median)} | {half} | {_number(each.p95)} | {len(each.values)} | {ratio}"
    if has_whole:
        numbers += f" | {'' if each.whole is None else _number(each.whole)}"
    return f"| {name} | {numbers} | {target} | {verdict} |"


def _number(value: object) -> str:
    number = float(str(value))
    if abs(number) >= 100:
        return f"{number:.0f}"
    return f"{number:.1f}" if abs(number) >= 10 else f"{number:.2f}" if abs(number) >= 0.1 else f"{number:.3f}"
