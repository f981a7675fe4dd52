"""One run: its folder, its supervisor, its configuration; what every service of it is handed."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from realstack._core.folders import DataFolder, data_folder
from realstack._core.supervision import Supervision
from realstack.config import Config


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What the services of one run share."""

    config: Config
    #: The environment servers and set-up callables are given.
    environ: Mapping[str, str]
    folder: Path
    supervision: Supervision
    #: Say which processes the apps under test are now that this process started: a test may restart one.
    apps: list[Callable[[], int | None]] = dataclasses.field(default_factory=list)

    #: Services to how many fixtures wider than a test hold them: the pools of such a fixture may grow in any test.
    pools: Counter[str] = dataclasses.field(default_factory=Counter)

    def app_pids(self) -> tuple[int, ...]:
        """Return the processes of the apps under test: what their pools open is not a test's leak."""
        return tuple(pid for app in self.apps if (pid := app()) is not None)

    def new_folder(self, name: str) -> Path:
        """Make a private folder inside the run folder; it goes with the run."""
        folder = self.folder / name
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def new_data_folder(self, *, need_bytes: int) -> DataFolder:
        """Return a folder for a server's data, in memory when there is room, that goes with the run; not made yet."""
        place = data_folder(self.environ, need_bytes=need_bytes)
        if (wanted := self.config.data_folder) is not None:
            place = DataFolder(path=wanted / f"realstack-{place.path.name}", in_memory=True)  # as asked: nothing to say
        self.supervision.own_folder(place.path)
        return place
