"""``python -m benchmarks [names...] [--quick] [--json FILE] [--write FILE]``."""

import argparse
import os
import sys
import time
from pathlib import Path

from benchmarks import machine, report
from benchmarks.bench import open_bench
from benchmarks.figures import Table
from benchmarks.groups import isolation, plugin, start, stores, workers
from benchmarks.session import SessionFailed

_GROUPS = {
    "plugin": (plugin.measure_imports, plugin.measure_idle),
    "start": (start.measure_postgres, start.measure_others),
    "stores": (stores.measure_redis, stores.measure_clickhouse),
    "workers": (workers.measure,),
    "isolation": (isolation.measure_sizes, isolation.measure_rows),
}
_FAILED = 1


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for; return the exit code."""
    options = _parse(arguments)
    started = time.monotonic()
    described = machine.describe()
    tables: list[Table] = []
    failed = False
    with open_bench(quick=options.quick) as bench:
        for name in options.names or _GROUPS:
            begun = time.monotonic()
            for measure in _GROUPS[name]:
                try:
                    tables += measure(bench)
                except SessionFailed as error:
                    failed = True
                    bench.say(f"{measure.__name__} of {name} could not go on:\n{error}")
            bench.say(f"{name}: {time.monotonic() - begun:.0f} s")
    rest = {"machine": described, "took_s": time.monotonic() - started, "quick": options.quick}
    _write(options.json, report.to_json(tables, **rest))
    _write(options.write, report.to_markdown(tables, **rest))
    print(report.to_markdown(tables, **rest))
    return _FAILED if failed else os.EX_OK


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="realstack beside its peers, in one run")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(_GROUPS)}; none: all")
    parser.add_argument("--quick", action="store_true", help="in 90 seconds, to see that it works; not for quoting")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures for programs")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the figures for people, as Markdown")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in _GROUPS]:
        parser.error(f"names={unknown!r} must be of {sorted(_GROUPS)!r}")
    return options


def _write(file: Path | None, text: str) -> None:
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


if __name__ == "__main__":
    sys.exit(main())
