"""The supervisor's entry script: ``python -I -S supervisor.py RUN_FOLDER OWNER_PID``, the lease on standard input.

It runs by path, before and without ``realstack``: two empty packages stand in for ``realstack`` and
``realstack._core``, so that the supervisor's own modules are found and cached as usual while the façade, and whatever
it may import one day, is never loaded.
"""

import os
import sys


def _stand_in(name: str, folder: str) -> None:
    package = type(sys)(name)
    package.__path__ = [folder]
    sys.modules[name] = package


if __name__ == "__main__":
    core = os.path.dirname(os.path.abspath(__file__))
    _stand_in("realstack", os.path.dirname(core))
    _stand_in("realstack._core", core)
    from realstack._core.supervisor_loop import main

    main(sys.argv[1:])
