-- Puts the database back in one call. Compiled once a session, its plans kept; the kit's session runs it as a superuser
-- with session_replication_role = replica.

-- What no event trigger sees and every database of the server shares; databases of the kit's own carry its mark.
CREATE FUNCTION realstack.shared_state(mark int, ours bool) RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN concat_ws('/',
        (SELECT sum(hashtext(oid || ' ' || xmin::text)) FROM pg_authid),
        (SELECT sum(hashtext(xmin::text)) FROM pg_auth_members),
        (SELECT sum(hashtext(xmin::text)) FROM pg_db_role_setting),
        (SELECT sum(hashtext(datname)) FROM pg_database WHERE datconnlimit <> mark),
        (SELECT sum(hashtext(oid || ' ' || xmin::text)) FROM pg_tablespace),
        (SELECT sum(hashtext(xmin::text)) FROM pg_shdescription),
        {parameter_acl}
        (SELECT sum(hashtext(slot_name || coalesce(database, ''))) FROM pg_get_replication_slots() s
            LEFT JOIN LATERAL (SELECT datname AS database FROM pg_database d WHERE d.oid = s.datoid) d ON true),
        CASE WHEN ours THEN hashtext(pg_read_file('postgresql.auto.conf')) END);
END $body$;

-- The same for this database alone: event triggers (which do not watch themselves), its own row, large objects.
CREATE FUNCTION realstack.local_state(home oid) RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RETURN concat_ws('/',
        (SELECT sum(hashtext(xmin::text)) FROM pg_event_trigger),
        (SELECT concat(datacl, datconnlimit, datdba, datallowconn, datistemplate) FROM pg_database WHERE oid = home),
        (SELECT coalesce(sum(hashtext(oid || ' ' || xmin::text)), 0) FROM pg_largeobject_metadata),
        CASE WHEN EXISTS (SELECT FROM pg_largeobject_metadata) THEN
            (SELECT sum(hashtext(loid || ' ' || pageno || ' ' || xmin::text)) FROM pg_largeobject) END);
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
        moved := concat_ws(',', moved, s.relid);
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

-- state: 'busy' somebody holds a transaction open, nothing was done; 'prepared' the same for prepared ones; 'ddl' the
-- catalogue was changed, nothing was put back; 'stale' a materialised view cannot be put back; 'done'.
CREATE FUNCTION realstack.reset(
    home oid, known int[], mark int, ours bool,
    OUT state text, OUT strangers text, OUT busy text, OUT written text, OUT moved text, OUT shared text, OUT local text
) LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    rels oid[];
    rel oid;
BEGIN
    SELECT string_agg(a.pid::text, ',') FILTER (WHERE a.pid <> ALL (known) AND a.application_name NOT LIKE 'realstack%'),
           string_agg(a.pid::text, ',') FILTER (WHERE a.xact_start IS NOT NULL)
        INTO strangers, busy FROM pg_stat_get_activity(NULL) a
        WHERE a.datid = home AND a.pid <> pg_backend_pid() AND a.backend_type IN ('client backend', 'walsender');
    IF busy IS NOT NULL THEN
        state := 'busy';
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM pg_prepared_xact() p WHERE p.dbid = home) THEN
        state := 'prepared';
        RETURN;
    END IF;
    WITH gone AS (DELETE FROM realstack.dirty RETURNING relid)
        SELECT array_agg(DISTINCT relid), string_agg(DISTINCT relid::text, ',') INTO rels, written FROM gone;
    IF 0 = ANY (rels) THEN
        state := 'ddl';
        RETURN;
    END IF;
    IF rels IS NOT NULL THEN
        FOREACH rel IN ARRAY rels LOOP
            PERFORM realstack.restore(rel);
        END LOOP;
        IF EXISTS (SELECT FROM realstack.views) AND realstack.put_views_back(rels) IS NOT NULL THEN
            state := 'stale';
            RETURN;
        END IF;
    END IF;
    moved := realstack.put_sequences_back();
    shared := realstack.shared_state(mark, ours);
    local := realstack.local_state(home);
    state := 'done';
END $body$;

-- They may only exist once everything else does: from here on, DDL is noted.
CREATE EVENT TRIGGER realstack_ddl ON ddl_command_end EXECUTE PROCEDURE realstack.note_ddl();
CREATE EVENT TRIGGER realstack_drop ON sql_drop EXECUTE PROCEDURE realstack.note_drop();
ALTER EVENT TRIGGER realstack_ddl ENABLE ALWAYS;
ALTER EVENT TRIGGER realstack_drop ENABLE ALWAYS;
