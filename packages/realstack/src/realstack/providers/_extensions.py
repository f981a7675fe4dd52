"""Which extensions a PostgreSQL on disk has: known from its files, before anything is started."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from realstack.abc import Installation

#: What PostgreSQL's own contrib folder has had from 10 to 18 (the npm packages carry it).
CONTRIB = frozenset(
    """adminpack amcheck autoinc bloom btree_gin btree_gist citext cube dblink dict_int dict_xsyn earthdistance file_fdw
    fuzzystrmatch hstore insert_username intagg intarray isn lo ltree moddatetime pageinspect pg_buffercache
    pg_freespacemap pg_logicalinspect pg_overexplain pg_prewarm pg_stat_statements pg_surgery pg_trgm pg_visibility
    pg_walinspect pgcrypto pgrowlocks pgstattuple plpgsql postgres_fdw refint seg sslinfo tablefunc tcn
    tsm_system_rows tsm_system_time unaccent uuid-ossp xml2""".split()  # noqa: SIM905
)
IN_WHEEL = frozenset(("plpgsql", "vector"))


def extensions_of(installation: Installation) -> frozenset[str] | None:
    """Return the names of all extensions *installation* can create; ``None`` when its files were not found."""
    for share in _share_folders(installation):
        if (share / "postgres.bki").exists():
            return frozenset(file.stem for file in (share / "extension").glob("*.control"))
    return None


def missing_extensions(installation: Installation, wanted: Sequence[str]) -> tuple[str, ...]:
    """Return those of *wanted* that *installation* lacks; one whose files cannot be found lacks none we know."""
    if not wanted:
        return ()
    present = extensions_of(installation)
    return () if present is None else tuple(name for name in wanted if name not in present)


def who_has(extensions: Sequence[str], version: str = "") -> str:
    """Say in one sentence where *extensions* can be had."""
    names = ", ".join(extensions)
    if all(name in CONTRIB for name in extensions):
        release = f"@{version}" if version else ""
        return (
            f"{names}: the npm packages have it; run `realstack install postgres{release}` (needs the npm client, once)"
        )
    if all(name in IN_WHEEL for name in extensions):
        return f'{names}: the wheel has it; run `pip install "realstack[postgres]"`'
    return (
        f"{names}: no provider of the kit has it; install a PostgreSQL that does and put its bin folder on PATH, "
        "or give the url of a server that has it"
    )


def _share_folders(installation: Installation) -> Iterator[Path]:
    # the order of likelihood; PostgreSQL itself finds its share folder relative to its programs in the same way
    up, major = installation.folder.parent, installation.version.partition(".")[0]
    yield up / "share" / "postgresql"
    yield up / "share"
    yield Path(f"/usr/share/postgresql/{major}")
    yield Path(f"/usr/share/postgresql{major}")
    yield from (up / "share").glob("*")
