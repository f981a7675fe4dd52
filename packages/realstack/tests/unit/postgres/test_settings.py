from pathlib import Path

from realstack.services.postgres.settings import major_of, server_settings, to_conf

FOLDER = Path("/run/here")


def test_settings_of_the_user_win():
    settings = server_settings(
        "18.4", port=5433, socket_folder=FOLDER, wanted={"shared_buffers": "1GB", "work_mem": "8MB"}
    )

    assert settings["shared_buffers"] == "1GB"
    assert settings["work_mem"] == "8MB"
    assert settings["fsync"] == "off"


def test_a_setting_is_only_given_to_versions_that_know_it():
    old, new = (server_settings(version, port=1, socket_folder=FOLDER) for version in ("10.23", "18.4"))

    assert {"jit", "wal_init_zero", "io_method"}.isdisjoint(old)
    assert {"jit", "wal_init_zero", "io_method"} <= set(new)


def test_a_socket_folder_of_the_user_stands_beside_the_one_the_kit_needs():
    settings = server_settings("16.4", port=1, socket_folder=FOLDER, wanted={"unix_socket_directories": "/my place"})

    assert settings["unix_socket_directories"] == '"/run/here", "/my place"'


def test_any_value_stands_safely_in_the_configuration_file():
    assert to_conf({"a.b": "it's a\\b\nc"}) == "a.b = 'it''s a\\\\b\\nc'\n"


def test_the_major_version_of_any_release_is_known():
    assert [major_of(each) for each in ("18.4", "9.6.24", "18beta1", "17devel", "")] == [18, 9, 18, 17, 0]
