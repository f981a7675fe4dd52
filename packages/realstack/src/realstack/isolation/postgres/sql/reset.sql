-- Puts the database back in one call. Compiled once a session, its plans kept; the kit's session runs it as a superuser
-- with session_replication_role = replica and search_path = pg_catalog; a SET in a function would cost it 10 us a call.

-- What no event trigger sees, a line each, in the order of the fields in shared.py; databases of the kit's own carry its
-- mark, one that is being dropped the limit -2. First what all databases of the server share, then what is this database's.
CREATE FUNCTION realstack.unwatched(home oid, mark int, ours bool) RETURNS text LANGUAGE plpgsql AS $body$
BEGIN
    -- one plan over all of them: 18 us, against 60 for a subselect each
    RETURN (
        SELECT string_agg(total::text, E'\n' ORDER BY line) FROM (
            SELECT line, sum(hashtext(key || ' ' || version::text)) AS total FROM (
                SELECT 1 AS line, oid AS key, xmin AS version FROM pg_authid
                UNION ALL SELECT 2, roleid, xmin FROM pg_auth_members
                UNION ALL SELECT 3, setdatabase, xmin FROM pg_db_role_setting
                UNION ALL SELECT 4, oid, xmin FROM pg_tablespace
                UNION ALL SELECT 5, objoid, xmin FROM pg_shdescription
                {parameter_acl}
                UNION ALL SELECT 7, oid, '1' FROM pg_database WHERE datconnlimit NOT IN (mark, -2)
                UNION ALL SELECT 9, oid, xmin FROM pg_event_trigger
                UNION ALL SELECT line, 0, '1' FROM generate_series(1, 9) line
            ) each_row GROUP BY line
        ) each_line)
        || E'\n' || (SELECT coalesce(sum(hashtext(slot_name || coalesce(datoid::text, ''))), 0)
                     FROM pg_get_replication_slots() WHERE NOT temporary)
        || E'\n' || CASE WHEN ours THEN hashtext(pg_read_file('postgresql.auto.conf')) ELSE 0 END
        || E'\n' || (SELECT concat(datacl, datconnlimit, ' ', datdba, datallowconn, datistemplate)
                     FROM pg_database WHERE oid = home)
        || E'\n' || CASE WHEN EXISTS (SELECT FROM pg_largeobject_metadata) THEN
            (SELECT sum(hashtext(oid || ' ' || xmin::text)) FROM pg_largeobject_metadata)
            + (SELECT coalesce(sum(hashtext(loid || ' ' || pageno || ' ' || xmin::text)), 0) FROM pg_largeobject)
            ELSE 0 END;
END $body$;

CREATE FUNCTION realstack.set_sequences(rels oid[]) RETURNS text LANGUAGE plpgsql AS $body$
DECLARE
    s record;
    moved text;
BEGIN
    FOR s IN SELECT q.* FROM realstack.sequences q WHERE q.relid = ANY (rels) LOOP
        IF s.cached THEN  -- a new file makes other sessions forget the numbers they hold back
            EXECUTE format('ALTER SEQUENCE %s RESTART', s.relid::regclass);
        END IF;
        PERFORM setval(s.relid::regclass, s.last_value, s.is_called);
        moved := concat_ws(E'\n', moved, s.relid || ' ' || s.relid::regclass);
    END LOOP;
    RETURN moved;
END $body$;

-- All of them; 0.6 to 2 us each.
CREATE FUNCTION realstack.put_sequences_back() RETURNS text LANGUAGE plpgsql AS $body$
DECLARE
    rels oid[];
BEGIN
    SELECT array_agg(q.relid) INTO rels FROM realstack.sequences q WHERE {sequence_moved};
    RETURN CASE WHEN rels IS NOT NULL THEN realstack.set_sequences(rels) END;
END $body$;

-- Those of the tables *owners*, and those the write-ahead log does not know.
CREATE FUNCTION realstack.put_owned_sequences_back(owners oid[]) RETURNS text LANGUAGE plpgsql AS $body$
DECLARE
    rels oid[];
BEGIN
    IF EXISTS (SELECT FROM realstack.sequences WHERE unlogged) THEN
        SELECT array_agg(q.relid) INTO rels FROM (SELECT * FROM realstack.sequences WHERE unlogged OFFSET 0) q WHERE {sequence_moved};
    END IF;
    IF owners IS NOT NULL THEN
        rels := rels || ARRAY(
            -- OFFSET keeps the planner from looking into all of them first
            SELECT q.relid FROM (SELECT * FROM realstack.sequences WHERE owner = ANY (owners) OFFSET 0) q
            WHERE {owned_sequence_moved});
    END IF;
    RETURN CASE WHEN rels IS NOT NULL THEN realstack.set_sequences(rels) END;
END $body$;

-- A view with rows of its own, refreshed by the test, is refreshed again over the baseline. Returns the first whose
-- content is not the baseline's then: that one needs a clone.
CREATE FUNCTION realstack.put_views_back(rels oid[]) RETURNS oid LANGUAGE plpgsql AS $body$
DECLARE
    v record;
BEGIN
    FOR v IN SELECT w.relid, w.digest FROM realstack.views w WHERE w.relid = ANY (rels) ORDER BY 1 LOOP
        EXECUTE format('REFRESH MATERIALIZED VIEW %s %s', v.relid::regclass,
                       CASE WHEN v.digest IS NULL THEN 'WITH NO DATA' END);
        IF v.digest IS NOT NULL AND v.digest <> realstack.digest(v.relid) THEN
            RETURN v.relid;
        END IF;
    END LOOP;
    RETURN NULL;
END $body$;

-- Who is there before a test, and in which transaction: what it leaves open is told from what lived before.
CREATE FUNCTION realstack.begin(home oid, OUT pids text, OUT locks text, OUT transactions text) LANGUAGE plpgsql AS $body$
DECLARE
    others int;
BEGIN
    SELECT '{' || string_agg(a.pid::text, ',') || '}', count(*),
           '{' || string_agg(concat('"', a.pid, ' ', a.xact_start, '"'), ',')
               FILTER (WHERE a.xact_start IS NOT NULL AND a.pid <> pg_backend_pid()) || '}'
        INTO pids, others, transactions FROM pg_stat_get_activity(NULL) a WHERE a.datid = home;
    IF others > 1 THEN
        locks := realstack.advisory_locks(home);
    END IF;
END $body$;

CREATE FUNCTION realstack.advisory_locks(home oid) RETURNS text LANGUAGE plpgsql AS $body$
BEGIN
    RETURN (SELECT string_agg(concat_ws(':', l.pid, l.classid, l.objid, l.objsubid, l.mode), E'\n')
            FROM pg_lock_status() l
            WHERE l.locktype = 'advisory' AND l.granted AND l.database = home AND l.pid <> pg_backend_pid());
END $body$;

-- state: 'busy' somebody holds a transaction open that was not open before the test, 'prepared' a prepared one is left:
-- nothing was done; 'ddl' the catalogue was changed, nothing was put back; 'stale' a materialised view cannot be put back;
-- 'done'. With *since*, the caller finds the sequences that moved in the write-ahead log from there to *lsn*; only those of
-- written tables are looked at here.
CREATE FUNCTION realstack.reset(
    home oid, known int[], open text[], mark int, ours bool, since pg_lsn,
    OUT state text, OUT strangers text, OUT busy text, OUT locking text, OUT written text, OUT moved text,
    OUT unwatched text, OUT lsn pg_lsn, OUT transaction bigint
) LANGUAGE plpgsql AS $body$
DECLARE
    rels oid[];
    rel oid;
    others int;
BEGIN
    lsn := pg_current_wal_insert_lsn();
    IF lsn <> since THEN
        PERFORM setval('realstack.mark', 1);  -- so that our commit writes the log out up to here, and it can be read
    END IF;
    SELECT count(*),
           string_agg(a.pid::text, ',') FILTER (WHERE a.pid <> ALL (known) AND a.application_name NOT LIKE 'realstack%'),
           string_agg(a.pid::text, ',') FILTER (WHERE a.xact_start IS NOT NULL
                                                 AND concat(a.pid, ' ', a.xact_start) <> ALL (open))
        INTO others, strangers, busy FROM pg_stat_get_activity(NULL) a
        WHERE a.datid = home AND a.pid <> pg_backend_pid() AND a.backend_type IN ('client backend', 'walsender');
    IF busy IS NOT NULL THEN
        -- not one that a session from before the test left idle with no lock but on sequences: it has written nothing that
        -- it could commit. A wider fixture keeps such a one around the savepoints of its tests (Django's TestCase).
        SELECT string_agg(a.pid::text, ',') INTO busy FROM pg_stat_get_activity(NULL) a
            WHERE a.pid = ANY (string_to_array(busy, ',')::int[]) AND NOT (
                a.pid = ANY (known) AND a.state = 'idle in transaction'
                AND NOT EXISTS (SELECT FROM pg_lock_status() l LEFT JOIN pg_class c ON c.oid = l.relation
                                WHERE l.pid = a.pid AND l.locktype = 'relation' AND c.relkind IS DISTINCT FROM 'S'));
    END IF;
    IF busy IS NOT NULL THEN
        state := 'busy';
        RETURN;
    END IF;
    IF others > 0 THEN
        locking := realstack.advisory_locks(home);
    END IF;
    IF EXISTS (SELECT FROM pg_prepared_xact() p WHERE p.dbid = home) THEN
        state := 'prepared';
        RETURN;
    END IF;
    WITH gone AS (DELETE FROM realstack.dirty RETURNING relid) SELECT array_agg(DISTINCT relid) INTO rels FROM gone;
    IF 0 = ANY (rels) THEN
        SELECT string_agg(DISTINCT concat_ws(' ', d.tag, d.object), E'\n') INTO written FROM realstack.ddl d;
        state := 'ddl';
        RETURN;
    END IF;
    IF rels IS NOT NULL THEN
        FOREACH rel IN ARRAY rels LOOP
            PERFORM realstack.restore(rel);
            written := concat_ws(E'\n', written, rel::regclass);
        END LOOP;
        IF EXISTS (SELECT FROM realstack.views) AND realstack.put_views_back(rels) IS NOT NULL THEN
            state := 'stale';
            RETURN;
        END IF;
    END IF;
    IF since IS NULL THEN
        moved := realstack.put_sequences_back();
    ELSE
        moved := realstack.put_owned_sequences_back(rels);
    END IF;
    unwatched := realstack.unwatched(home, mark, ours);
    transaction := txid_current_if_assigned();
    state := 'done';
END $body$;
