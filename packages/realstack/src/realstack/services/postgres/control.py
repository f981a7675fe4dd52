"""What a stopped cluster says of itself in ``global/pg_control``.

Read here because the program for it, pg_controldata, is not in every package. The file is in the machine's own byte
order.

Source: PostgreSQL source, src/include/catalog/pg_control.h, releases 10 to 18.
"""

import dataclasses
import struct
from pathlib import Path

_HEAD = struct.Struct("=QIIi4xqQ")  # system id, control version, catalogue version, state, time, latest checkpoint
_REDO = struct.Struct("=QI")  # where recovery would begin, time line
_STATE_SHUT_DOWN = 1
_PG_10 = 1002


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Control:
    """The parts of ``pg_control`` the kit needs."""

    is_shut_down: bool
    #: Position in the write-ahead log at which recovery would begin.
    redo: int
    timeline: int


def read_control(data: Path) -> Control:
    """Read the control file of the cluster in *data*.

    Raises:
        OSError: there is none.
        ValueError: it is not one of a version we know.
    """
    raw = (data / "global" / "pg_control").read_bytes()
    _, version, _, state, _, _ = _HEAD.unpack_from(raw)
    if not 1000 <= version < 2000:  # another byte order gives numbers far away
        raise ValueError(f"{data}/global/pg_control has version {version}, which is not known")
    # release 10 also kept the checkpoint before the latest
    redo, timeline = _REDO.unpack_from(raw, _HEAD.size + (8 if version <= _PG_10 else 0))
    return Control(is_shut_down=state == _STATE_SHUT_DOWN, redo=redo, timeline=timeline)


def needless_wal(data: Path) -> tuple[str, ...]:
    """Return the write-ahead log files a stopped cluster does not need to start, relative to *data*.

    Only the file with the last checkpoint is read by a cluster that was shut down in order; the files made for later
    use and those kept for nobody are most of a small cluster's size. While a replication slot exists all are needed.
    """
    control = read_control(data)
    if not control.is_shut_down or any((data / "pg_replslot").iterdir()):
        return ()
    segments = [entry for entry in (data / "pg_wal").iterdir() if len(entry.name) == 24 and entry.is_file()]
    if not segments:
        return ()
    per_segment = segments[0].stat().st_size
    number, per_id = control.redo // per_segment, (1 << 32) // per_segment
    needed = f"{control.timeline:08X}{number // per_id:08X}{number % per_id:08X}"
    if needed not in (segment.name for segment in segments):
        return ()
    return tuple(f"pg_wal/{segment.name}" for segment in segments if segment.name != needed)
