"""A worker whose controller was killed ends, too: its servers are gone, and nobody is left to read its results.

pytest-xdist leaves such a worker alone until its test returns, which a test that waits for a server never may.
"""

import os
import select
import signal
import threading

#: From the interrupt, which lets fixtures clean up, to the end.
_GRACE_S = 1.0


def end_with_parent() -> None:
    """Watch the parent of this process in a thread of its own; where that cannot be done, do nothing."""
    parent = os.getppid()
    try:
        descriptor = os.pidfd_open(parent)
    except (AttributeError, OSError):  # not Linux, an old kernel, a sandbox, or it is gone already
        return
    threading.Thread(target=_await_end, args=(descriptor,), name="realstack-parent", daemon=True).start()


def _await_end(descriptor: int) -> None:
    select.select([descriptor], [], [])
    os.kill(os.getpid(), signal.SIGINT)
    threading.Event().wait(_GRACE_S)
    os._exit(1)
