"""The table of ``PostgresMemory``.

``value`` and ``metadata`` are ``json``, not ``jsonb``: the text comes back as it was written (memory/encoding.py says
why). Keys sort by code point (COLLATE "C"), which is also what makes a prefix a range of the primary key, so no pattern
index is needed. Expiry, which every overwrite moves, has a block-range index: from PostgreSQL 16 on it lets an
overwrite stay in its page and touch no index at all (a B-tree made a store 1.5 times as slow). ``version`` comes from a
sequence: a key that is deleted and stored again never repeats one.
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_UP = """
CREATE SEQUENCE qe_memory_version_seq;

CREATE TABLE qe_memory (
    tenant     varchar(63)  COLLATE "C" NOT NULL DEFAULT 'default',
    key        varchar(255) COLLATE "C" NOT NULL,
    namespace  varchar(254) COLLATE "C" NOT NULL DEFAULT 'aqe/',
    partition  varchar(50)  COLLATE "C" NOT NULL DEFAULT 'default',
    value      json         NOT NULL,
    metadata   json         NOT NULL DEFAULT '{}',
    version    bigint       NOT NULL DEFAULT nextval('qe_memory_version_seq'),
    created_at timestamptz  NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz,
    CONSTRAINT qe_memory_pkey PRIMARY KEY (tenant, key),
    CONSTRAINT qe_memory_key_format CHECK (
        starts_with(key, namespace) AND key <> namespace AND right(namespace, 1) = '/' AND octet_length(key) <= 255
    ),
    CONSTRAINT qe_memory_names_not_empty CHECK (tenant <> '' AND partition <> '')
) WITH (fillfactor = 85);

ALTER SEQUENCE qe_memory_version_seq OWNED BY qe_memory.version;

CREATE INDEX idx_qe_memory_partition ON qe_memory (tenant, partition, key);
CREATE INDEX idx_qe_memory_expires ON qe_memory USING brin (expires_at);

CREATE FUNCTION cleanup_expired_memory() RETURNS TABLE (deleted_count integer)
LANGUAGE sql AS $$
    WITH gone AS (DELETE FROM qe_memory WHERE expires_at <= statement_timestamp() RETURNING 1)
    SELECT count(*)::integer FROM gone
$$;

COMMENT ON TABLE qe_memory IS 'Shared memory of agents: one row per tenant and key';
COMMENT ON COLUMN qe_memory.namespace IS 'what the key starts with, as the writer''s scope had it';
COMMENT ON COLUMN qe_memory.expires_at IS 'null: never; past it the row is invisible and may be swept';
COMMENT ON FUNCTION cleanup_expired_memory IS 'deletes the expired rows of every tenant';
"""

_DOWN = """
DROP FUNCTION cleanup_expired_memory();
DROP TABLE qe_memory;
"""


def upgrade() -> None:
    """Make the table, its indexes and the sweeping function."""
    op.execute(_UP)


def downgrade() -> None:
    """Drop them, and every item with them."""
    op.execute(_DOWN)
