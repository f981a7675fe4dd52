"""``python -m realstack.providers.clean_foreign JOURNAL``: what the supervisor runs when a run is over."""

import sys
from pathlib import Path

from realstack.providers.foreign import clean_foreign


def main(argv: list[str]) -> int:
    """Clean up by the journal *argv* names; 0 when nothing is left behind."""
    problems = clean_foreign(Path(argv[0]))
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
