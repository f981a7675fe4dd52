import struct

import pytest

from realstack.services.postgres.control import read_control


def write_control(data, version, state, *, before=b""):
    (data / "global").mkdir()
    head = struct.pack("=QIIi4xqQ", 1, version, 2, state, 3, 4)
    (data / "global" / "pg_control").write_bytes(head + before + struct.pack("=QI", 0x2_0000_0028, 1).ljust(300, b"\0"))


@pytest.mark.parametrize(("version", "before"), [(1002, b"\xff" * 8), (1100, b""), (1300, b""), (1800, b"")])
def test_the_control_file_of_every_release_is_read(tmp_path, version, before):
    write_control(tmp_path, version, 1, before=before)
    control = read_control(tmp_path)

    assert control.is_shut_down
    assert control.redo == 0x2_0000_0028
    assert control.timeline == 1


def test_a_cluster_in_use_is_not_taken_for_a_stopped_one(tmp_path):
    write_control(tmp_path, 1800, 6)

    assert not read_control(tmp_path).is_shut_down


def test_a_file_from_another_kind_of_machine_is_refused(tmp_path):
    write_control(tmp_path, int.from_bytes((1800).to_bytes(4, "big"), "little"), 1)

    with pytest.raises(ValueError, match="version"):
        read_control(tmp_path)
