"""``python -m realstack.cli``: the command without its script."""

import sys

from realstack.cli import main

if __name__ == "__main__":
    sys.exit(main())
