-- Baselines stack: the present state becomes one; the one below is kept to go back to.

CREATE TABLE realstack.saved (
    level int, relid oid, had_rows bool NOT NULL, known xid[], digest numeric, PRIMARY KEY (level, relid)
);
CREATE TABLE realstack.saved_sequences (
    level int, relid oid, last_value bigint NOT NULL, is_called bool NOT NULL, PRIMARY KEY (level, relid)
);

-- A table with everything below it: a statement's trigger fires on the table it names, its rows lie in any of them.
CREATE FUNCTION realstack.family(rels oid[]) RETURNS SETOF oid LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $body$
    WITH RECURSIVE tree AS (
        SELECT unnest(rels) AS relid UNION SELECT i.inhrelid FROM pg_inherits i JOIN tree t ON i.inhparent = t.relid
    )
    SELECT relid FROM tree
$body$;

-- Returns false, and leaves the notes where they are, when the catalogue was changed.
CREATE FUNCTION realstack.push(above int) RETURNS bool LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    rels oid[];
    r record;
BEGIN
    IF EXISTS (SELECT FROM realstack.dirty WHERE relid = 0) THEN
        RETURN false;
    END IF;
    WITH gone AS (DELETE FROM realstack.dirty RETURNING relid) SELECT array_agg(DISTINCT relid) INTO rels FROM gone;
    IF rels IS NOT NULL THEN
        FOR r IN SELECT c.relid, c.kind FROM realstack.covered c
                 WHERE c.relid IN (SELECT realstack.family(rels)) AND c.kind IN ('r', 'm') LOOP
            INSERT INTO realstack.saved
                SELECT above, r.relid, b.relid IS NOT NULL, b.known, v.digest FROM (VALUES (r.relid)) t (relid)
                LEFT JOIN realstack.baselines b USING (relid) LEFT JOIN realstack.views v USING (relid);
            IF r.kind = 'm' THEN
                PERFORM realstack.keep_view(r.relid);
                CONTINUE;
            END IF;
            IF EXISTS (SELECT FROM realstack.baselines b WHERE b.relid = r.relid) THEN
                EXECUTE format('ALTER TABLE realstack.base_%1$s RENAME TO base_%1$s_%2$s', r.relid, above);
            END IF;
            PERFORM realstack.keep_rows(r.relid);
            PERFORM realstack.write_restore(r.relid, r.kind);
        END LOOP;
    END IF;
    FOR r IN SELECT q.* FROM realstack.sequences q WHERE {sequence_moved} LOOP
        INSERT INTO realstack.saved_sequences VALUES (above, r.relid, r.last_value, r.is_called);
        PERFORM realstack.keep_sequence(r.relid);
    END LOOP;
    IF FOUND THEN
        PERFORM realstack.write_uncalled();
    END IF;
    RETURN true;
END $body$;

-- Makes the baseline below *above* the one in force again; its rows are put back by the next reset.
CREATE FUNCTION realstack.pop(above int) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    s record;
BEGIN
    FOR s IN DELETE FROM realstack.saved WHERE level = above RETURNING * LOOP
        INSERT INTO realstack.dirty VALUES (s.relid);
        IF EXISTS (SELECT FROM realstack.views WHERE relid = s.relid) THEN
            UPDATE realstack.views SET digest = s.digest WHERE relid = s.relid;
            CONTINUE;
        END IF;
        DELETE FROM realstack.baselines WHERE relid = s.relid;
        EXECUTE format('DROP TABLE IF EXISTS realstack.base_%s', s.relid);
        IF s.had_rows THEN
            EXECUTE format('ALTER TABLE realstack.base_%1$s_%2$s RENAME TO base_%1$s', s.relid, above);
            INSERT INTO realstack.baselines VALUES (s.relid, s.known);
        END IF;
        PERFORM realstack.write_restore(s.relid, 'r');
    END LOOP;
    UPDATE realstack.sequences q SET last_value = below.last_value, is_called = below.is_called
        FROM realstack.saved_sequences below WHERE below.level = above AND below.relid = q.relid;
    DELETE FROM realstack.saved_sequences WHERE level = above;
    PERFORM realstack.write_uncalled();
END $body$;

-- They may only exist once everything else does: from here on, DDL is noted.
CREATE EVENT TRIGGER realstack_ddl ON ddl_command_end EXECUTE PROCEDURE realstack.note_ddl();
CREATE EVENT TRIGGER realstack_drop ON sql_drop EXECUTE PROCEDURE realstack.note_drop();
ALTER EVENT TRIGGER realstack_ddl ENABLE ALWAYS;
ALTER EVENT TRIGGER realstack_drop ENABLE ALWAYS;
