"""The unified test runner under the name other projects know it by: ``python tests/unified_test_runner.py ARGUMENTS``.

It is ``realstack run`` and nothing else.
"""

import sys

from realstack.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
