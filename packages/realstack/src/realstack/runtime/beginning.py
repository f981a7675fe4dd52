"""The first step of a run, kept apart: the supervisor gets ready while the rest of the runtime is imported."""

from collections.abc import Mapping

from realstack._core.folders import open_run_folder
from realstack._core.supervision import Supervision, start_supervisor


def begin_run(environ: Mapping[str, str]) -> Supervision:
    """Start the supervisor of a new run; it ends with this process at the latest.

    Raises:
        FolderUnsafe: there is no private folder for it.
    """
    return start_supervisor(open_run_folder(environ))
