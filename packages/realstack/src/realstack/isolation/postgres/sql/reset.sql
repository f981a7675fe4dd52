-- Puts the database back in one call. Compiled once a session, its plans kept; the kit's session runs it as a superuser
-- with session_replication_role = replica.

-- What no event trigger sees, a line each, in the order of the fields in shared.py; databases of the kit's own carry its
-- mark. First what all databases of the server share, then what is this database's.
CREATE FUNCTION realstack.unwatched(home oid, mark int, ours bool) RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN (SELECT sum(hashtext(oid || ' ' || xmin::text)) FROM pg_authid)
        || E'\n' || (SELECT coalesce(sum(hashtext(xmin::text)), 0) FROM pg_auth_members)
        || E'\n' || (SELECT coalesce(sum(hashtext(setdatabase || ' ' || xmin::text)), 0) FROM pg_db_role_setting)
        || E'\n' || (SELECT coalesce(sum(hashtext(datname)), 0) FROM pg_database WHERE datconnlimit <> mark)
        || E'\n' || (SELECT sum(hashtext(oid || ' ' || xmin::text)) FROM pg_tablespace)
        || E'\n' || (SELECT coalesce(sum(hashtext(objoid || ' ' || xmin::text)), 0) FROM pg_shdescription)
        || E'\n' || {parameter_acl}
        || E'\n' || (SELECT coalesce(sum(hashtext(slot_name || coalesce(datoid::text, ''))), 0)
                     FROM pg_get_replication_slots() WHERE NOT temporary)
        || E'\n' || CASE WHEN ours THEN hashtext(pg_read_file('postgresql.auto.conf')) ELSE 0 END
        || E'\n' || (SELECT coalesce(sum(hashtext(xmin::text)), 0) FROM pg_event_trigger)
        || E'\n' || (SELECT concat(datacl, datconnlimit, ' ', datdba, datallowconn, datistemplate)
                     FROM pg_database WHERE oid = home)
        || E'\n' || CASE WHEN EXISTS (SELECT FROM pg_largeobject_metadata) THEN
            (SELECT sum(hashtext(oid || ' ' || xmin::text)) FROM pg_largeobject_metadata)
            + (SELECT coalesce(sum(hashtext(loid || ' ' || pageno || ' ' || xmin::text)), 0) FROM pg_largeobject)
            ELSE 0 END;
END $body$;

CREATE FUNCTION realstack.put_sequences_back() RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    s record;
    moved text;
BEGIN
    FOR s IN {moved_sequences} LOOP
        IF s.cached THEN  -- a new file makes other sessions forget the numbers they hold back
            EXECUTE format('ALTER SEQUENCE %s RESTART', s.relid::regclass);
        END IF;
        PERFORM setval(s.relid::regclass, s.last_value, s.is_called);
        moved := concat_ws(E'\n', moved, s.relid::regclass);
    END LOOP;
    RETURN moved;
END $body$;

-- A view with rows of its own, refreshed by the test, is refreshed again over the baseline. Returns the first whose
-- content is not the baseline's then: that one needs a clone.
CREATE FUNCTION realstack.put_views_back(rels oid[]) RETURNS oid LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $body$
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

-- Who is there before a test: what it leaves open is told from what lived before.
CREATE FUNCTION realstack.begin(home oid, OUT pids text, OUT locks text) LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    others int;
BEGIN
    SELECT '{' || string_agg(a.pid::text, ',') || '}', count(*) INTO pids, others
        FROM pg_stat_get_activity(NULL) a WHERE a.datid = home;
    IF others > 1 THEN
        locks := realstack.advisory_locks(home);
    END IF;
END $body$;

CREATE FUNCTION realstack.advisory_locks(home oid) RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN (SELECT string_agg(concat_ws(':', l.pid, l.classid, l.objid, l.objsubid, l.mode), E'\n')
            FROM pg_lock_status() l
            WHERE l.locktype = 'advisory' AND l.granted AND l.database = home AND l.pid <> pg_backend_pid());
END $body$;

-- state: 'busy' somebody holds a transaction open, 'prepared' a prepared one is left: nothing was done; 'ddl' the
-- catalogue was changed, nothing was put back; 'stale' a materialised view cannot be put back; 'done'.
CREATE FUNCTION realstack.reset(
    home oid, known int[], mark int, ours bool,
    OUT state text, OUT strangers text, OUT busy text, OUT locking text, OUT written text, OUT moved text,
    OUT unwatched text
) LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    rels oid[];
    rel oid;
    others int;
BEGIN
    SELECT count(*),
           string_agg(a.pid::text, ',') FILTER (WHERE a.pid <> ALL (known) AND a.application_name NOT LIKE 'realstack%'),
           string_agg(a.pid::text, ',') FILTER (WHERE a.xact_start IS NOT NULL)
        INTO others, strangers, busy FROM pg_stat_get_activity(NULL) a
        WHERE a.datid = home AND a.pid <> pg_backend_pid() AND a.backend_type IN ('client backend', 'walsender');
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
    moved := realstack.put_sequences_back();
    unwatched := realstack.unwatched(home, mark, ours);
    state := 'done';
END $body$;
