"""The configuration files of the embedded engine."""

from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import escape


def write_configuration(data: Path, users: Mapping[str, str], settings: Mapping[str, str]) -> Path:
    """Write what a server has in its configuration files: a query log, users, a profile."""
    data.mkdir(parents=True, exist_ok=True)
    # chdb accepts a bare word as a query, servers do not; nothing here has to outlive a power cut
    profile = {"implicit_select": "0", "fsync_metadata": "0", **settings}
    lines = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in profile.items())
    rights = "<profile>default</profile><quota>default</quota><access_management>1</access_management>"
    rights += "<named_collection_control>1</named_collection_control>"
    networks = "<networks><ip>::/0</ip></networks>"
    entries = "".join(
        f"<{name}><password>{escape(password)}</password>{networks}{rights}</{name}>"
        for name, password in users.items()
    )
    access = data / "users.xml"
    _write(
        access,
        f"<clickhouse><profiles><default>{lines}</default></profiles><quotas><default/></quotas>"
        f"<users>{entries}</users></clickhouse>",
    )
    every = "<flush_interval_milliseconds>1000</flush_interval_milliseconds>"
    log = f"<database>system</database><table>query_log</table>{every}"
    path = escape(str(access))
    config = data / "config.xml"
    _write(
        config,
        f"<clickhouse><logger><level>none</level></logger><query_log>{log}</query_log><users_config>{path}</users_config>"
        f"<user_directories><users_xml><path>{path}</path></users_xml></user_directories></clickhouse>",
    )
    return config


def _write(path: Path, text: str) -> None:
    """Write a file only its owner can read: it may hold passwords."""
    path.touch(mode=0o600)
    path.write_text(text)
