-- What a database needs to know which of its tables were written, and to put those back.
-- Everything lives in schema realstack. The functions that fire inside the application's own statements are SECURITY
-- DEFINER with a pinned search_path: its roles need no grant, and nothing on its path can be called by mistake.
-- The kit's own session says so with realstack.restoring; what it does is never noted.

CREATE SCHEMA realstack;

-- Append only, no key: two transactions never wait for each other here, and SERIALIZABLE finds nothing to conflict on.
-- Unlogged, so that logical decoding and publications FOR ALL TABLES never show it. relid 0 stands for DDL.
CREATE UNLOGGED TABLE realstack.dirty (relid oid NOT NULL) WITH (autovacuum_enabled = off);
CREATE UNLOGGED TABLE realstack.ddl (tag text NOT NULL, object text);
-- A crash empties what is unlogged; without this row, nobody knows what was written.
CREATE UNLOGGED TABLE realstack.alive AS SELECT true AS yes;

-- Setting it is the smallest write there is that no logical decoding shows.
CREATE SEQUENCE realstack.mark;

-- known: transactions whose rows are baseline rows; NULL: not known yet, the next restore rewrites the table.
CREATE TABLE realstack.baselines (relid oid PRIMARY KEY, known xid[]);
CREATE TABLE realstack.sequences (
    relid oid PRIMARY KEY, last_value bigint NOT NULL, is_called bool NOT NULL, cached bool NOT NULL,
    unlogged bool NOT NULL, owner oid
);
-- digest: of the content at the baseline; NULL: not populated there.
CREATE TABLE realstack.views (relid oid PRIMARY KEY, digest numeric);
CREATE TABLE realstack.covered (relid oid PRIMARY KEY, kind "char" NOT NULL);

CREATE FUNCTION realstack.note_write() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    INSERT INTO realstack.dirty VALUES (TG_RELID);
    RETURN NULL;
END $body$;

CREATE FUNCTION realstack.note_ddl() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    command record;
BEGIN
    IF current_setting('realstack.restoring', true) = 'on' THEN
        RETURN;
    END IF;
    FOR command IN SELECT * FROM pg_event_trigger_ddl_commands() LOOP
        IF command.schema_name = 'pg_temp' OR command.command_tag = 'REINDEX' THEN
            CONTINUE;
        ELSIF command.command_tag = 'REFRESH MATERIALIZED VIEW' THEN
            INSERT INTO realstack.dirty VALUES (command.objid);
        ELSE
            INSERT INTO realstack.dirty VALUES (0);
            INSERT INTO realstack.ddl VALUES (command.command_tag, command.object_identity);
        END IF;
    END LOOP;
END $body$;

CREATE FUNCTION realstack.note_drop() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    object record;
BEGIN
    IF current_setting('realstack.restoring', true) = 'on' THEN
        RETURN;
    END IF;
    FOR object IN SELECT * FROM pg_event_trigger_dropped_objects() WHERE NOT is_temporary AND original LOOP
        INSERT INTO realstack.dirty VALUES (0);
        INSERT INTO realstack.ddl VALUES (TG_TAG, object.object_identity);
    END LOOP;
EXCEPTION WHEN undefined_table THEN
    NULL;  -- schema realstack itself is being dropped: the next reset finds it gone and takes a clone
END $body$;

-- Whatever of the user's has content of its own to put back: tables (extensions' included), sequences, views with rows.
CREATE FUNCTION realstack.user_relations(OUT relid oid, OUT kind "char") RETURNS SETOF record LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $body$
    SELECT c.oid, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'f', 'S', 'm') AND c.relpersistence <> 't'
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'realstack')
$body$;

-- Puts the trigger on one table.
CREATE FUNCTION realstack.watch(rel oid) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    EXECUTE format(
        'CREATE TRIGGER realstack_dirty AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON %s FOR EACH STATEMENT '
        'WHEN (current_setting(''realstack.restoring'', true) IS DISTINCT FROM ''on'') '
        'EXECUTE PROCEDURE realstack.note_write()', rel::regclass);
    EXECUTE format('ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER realstack_dirty', rel::regclass);
END $body$;

-- An expression that is true when a row of the table (t) and one of its baseline copy (b) have the same key; NULL
-- without one. The operator is the index's own: types such as citext keep theirs outside pg_catalog.
CREATE FUNCTION realstack.same_key(rel oid) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $body$
    SELECT string_agg(format('t.%1$I OPERATOR(%2$I.%3$s) b.%1$I', a.attname, n.nspname, o.oprname), ' AND ')
    FROM (
        SELECT i.* FROM pg_index i
        WHERE i.indrelid = rel AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
          AND NOT EXISTS (
              SELECT FROM pg_attribute a WHERE a.attrelid = rel AND a.attnum = ANY (i.indkey)
              AND NOT a.attnotnull)
        ORDER BY i.indisprimary DESC, i.indexrelid LIMIT 1
    ) i
    CROSS JOIN generate_series(0, i.indnkeyatts - 1) position
    JOIN pg_attribute a ON a.attrelid = rel AND a.attnum = i.indkey[position]
    JOIN pg_opclass c ON c.oid = i.indclass[position]
    JOIN pg_amop m ON m.amopfamily = c.opcfamily AND m.amopstrategy = 3 AND m.amoppurpose = 's'
        AND m.amoplefttype = c.opcintype AND m.amoprighttype = c.opcintype
    JOIN pg_operator o ON o.oid = m.amopopr
    JOIN pg_namespace n ON n.oid = o.oprnamespace
    HAVING count(*) = max(i.indnkeyatts)
$body$;

-- The columns that can be written: generated and dropped ones cannot.
CREATE FUNCTION realstack.writable_columns(rel oid, prefix text) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $body$
    SELECT string_agg(format('%s%I', prefix, a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a
    WHERE a.attrelid = rel AND a.attnum > 0 AND NOT a.attisdropped
      AND coalesce(to_jsonb(a) ->> 'attgenerated', '') = ''  -- the column exists since PostgreSQL 12
$body$;

-- Triggers and rules of the user's that fire in the kit's session too; they are switched off around the restore.
CREATE FUNCTION realstack.stubborn(rel oid, OUT before text, OUT after text) LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $body$
    SELECT string_agg(format('ALTER TABLE ONLY %s DISABLE %s %I', rel::regclass, what, name), '; '),
           string_agg(format('ALTER TABLE ONLY %s ENABLE %s %s %I', rel::regclass,
                             CASE mode WHEN 'A' THEN 'ALWAYS' ELSE 'REPLICA' END, what, name), '; ')
    FROM (
        SELECT 'TRIGGER' AS what, tgname AS name, tgenabled AS mode FROM pg_trigger
        WHERE tgrelid = rel AND tgenabled IN ('A', 'R') AND NOT tgisinternal AND tgname <> 'realstack_dirty'
        UNION ALL
        SELECT 'RULE', rulename, ev_enabled FROM pg_rewrite WHERE ev_class = rel AND ev_enabled IN ('A', 'R')
    ) enabled
$body$;

-- Writes the function that puts one table back. Static SQL: its plans are kept by the kit's session. Columns of the
-- user's are always qualified: one of them may be called FOUND.
CREATE FUNCTION realstack.write_restore(rel oid, kind "char") RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    tab text := rel::regclass;
    targets text := coalesce('(' || realstack.writable_columns(rel, '') || ')', '');
    picked text := realstack.writable_columns(rel, 'b.');
    same text := realstack.same_key(rel);
    rows_kept bool := EXISTS (SELECT FROM realstack.baselines b WHERE b.relid = rel);
    rewrite text;
    body text := '';
    off text;
    again text;
    child oid;
BEGIN
    IF kind = 'r' AND NOT rows_kept THEN
        body := format('DELETE FROM ONLY %s; ', tab);
    ELSIF kind = 'r' THEN
        rewrite := format(
            'DELETE FROM ONLY %1$s; '
            'INSERT INTO %1$s %2$s OVERRIDING SYSTEM VALUE SELECT %3$s FROM realstack.base_%4$s b; '
            'UPDATE realstack.baselines SET known = ARRAY[realstack.this_transaction()] WHERE relid = %4$s; ',
            tab, targets, picked, rel);
        body := CASE WHEN same IS NULL THEN rewrite ELSE format(
            'SELECT b.known INTO realstack_known FROM realstack.baselines b WHERE b.relid = %4$s; '
            'IF cardinality(realstack_known) < 24 THEN '
            'DELETE FROM ONLY %1$s t WHERE NOT (t.xmin = ANY (realstack_known)); '
            'INSERT INTO %1$s %2$s OVERRIDING SYSTEM VALUE SELECT %3$s FROM realstack.base_%4$s b '
            'WHERE NOT EXISTS (SELECT FROM ONLY %1$s t WHERE %5$s); '
            'IF FOUND THEN UPDATE realstack.baselines b SET known = b.known || realstack.this_transaction() '
            'WHERE b.relid = %4$s; END IF; ELSE %6$s END IF; ',
            tab, targets, picked, rel, same, rewrite) END;
    END IF;
    SELECT * INTO off, again FROM realstack.stubborn(rel);
    IF off IS NOT NULL THEN
        body := format('%s; %s %s; ', off, body, again);
    END IF;
    FOR child IN SELECT inhrelid FROM pg_inherits WHERE inhparent = rel
                 AND inhrelid IN (SELECT relid FROM realstack.covered) LOOP
        body := format('PERFORM realstack.restore_%s(); ', child) || body;
    END LOOP;
    EXECUTE format('CREATE OR REPLACE FUNCTION realstack.restore_%s() RETURNS void LANGUAGE plpgsql AS %L',
                   rel, format('DECLARE realstack_known xid[]; BEGIN %s END', body));
END $body$;

CREATE FUNCTION realstack.this_transaction() RETURNS xid LANGUAGE sql VOLATILE AS
    'SELECT (pg_catalog.txid_current() & 4294967295)::pg_catalog.text::pg_catalog.xid';

-- Makes the present rows of one table its baseline.
CREATE FUNCTION realstack.keep_rows(rel oid) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    has_rows bool;
    writers xid[];
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT FROM ONLY %s)', rel::regclass) INTO has_rows;
    DELETE FROM realstack.baselines WHERE relid = rel;
    EXECUTE format('DROP TABLE IF EXISTS realstack.base_%s', rel);
    IF has_rows THEN
        EXECUTE format('CREATE TABLE realstack.base_%s WITH (autovacuum_enabled = off) AS SELECT %s FROM ONLY %s',
                       rel, realstack.writable_columns(rel, ''), rel::regclass);
        EXECUTE format('SELECT array_agg(DISTINCT t.xmin::text)::xid[] FROM ONLY %s t', rel::regclass) INTO writers;
        INSERT INTO realstack.baselines VALUES (rel, CASE WHEN cardinality(writers) < 16 THEN writers END);
    END IF;
END $body$;

-- Writes the function that finds the restore of a table: a search tree, since a list of 500 tables costs 40 us to walk.
CREATE FUNCTION realstack.tree(rels oid[]) RETURNS text LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    n int := coalesce(cardinality(rels), 0);
BEGIN
    IF n = 0 THEN
        RETURN 'RAISE EXCEPTION ''table % is not covered'', rel; ';
    ELSIF n = 1 THEN
        RETURN format('IF rel = %1$s THEN PERFORM realstack.restore_%1$s(); '
                      'ELSE RAISE EXCEPTION ''table %% is not covered'', rel; END IF; ', rels[1]);
    END IF;
    RETURN format('IF rel < %s THEN %s ELSE %s END IF; ', rels[n / 2 + 1],
                  realstack.tree(rels[1 : n / 2]), realstack.tree(rels[n / 2 + 1 :]));
END $body$;

CREATE FUNCTION realstack.write_dispatch() RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    EXECUTE format('CREATE OR REPLACE FUNCTION realstack.restore(rel oid) RETURNS void LANGUAGE plpgsql AS %L',
        format('BEGIN %s END', realstack.tree(ARRAY(SELECT relid FROM realstack.covered WHERE kind <> 'S' ORDER BY relid))));
END $body$;

CREATE FUNCTION realstack.digest(rel oid) RETURNS numeric LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    total numeric;
BEGIN
    EXECUTE format('SELECT count(*) + coalesce(sum((''x'' || left(md5((v.*)::text), 16))::bit(64)::bigint), 0) FROM ONLY %s v',
                   rel::regclass) INTO total;
    RETURN total;
END $body$;

-- The setval changes nothing but makes the next nextval write to the log: otherwise 32 go by unlogged.
CREATE FUNCTION realstack.keep_sequence(rel oid) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    DELETE FROM realstack.sequences WHERE relid = rel;
    EXECUTE format('INSERT INTO realstack.sequences SELECT %1$s, s.last_value, s.is_called, q.seqcache > 1, '
                   'c.relpersistence = ''u'', d.refobjid FROM %2$s s, pg_sequence q, pg_class c '
                   'LEFT JOIN pg_depend d ON d.classid = 1259 AND d.objid = c.oid AND d.objsubid = 0 '
                   'AND d.refclassid = 1259 AND d.deptype IN (''a'', ''i'') '
                   'WHERE q.seqrelid = %1$s AND c.oid = %1$s LIMIT 1', rel, rel::regclass);
    PERFORM setval(rel::regclass, s.last_value, s.is_called) FROM realstack.sequences s WHERE s.relid = rel;
END $body$;

CREATE FUNCTION realstack.keep_view(rel oid) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    DELETE FROM realstack.views WHERE relid = rel;
    INSERT INTO realstack.views
    SELECT rel, CASE WHEN c.relispopulated THEN realstack.digest(rel) END FROM pg_class c WHERE c.oid = rel;
END $body$;

-- Before PostgreSQL 18 nothing tells the number of a sequence that was never called, so that setval(..., false) on one
-- can only be seen by reading it: writes the function that reads them all, 1.7 us each.
CREATE FUNCTION realstack.write_uncalled() RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    reads text;
BEGIN
    SELECT string_agg(format('SELECT %s::oid FROM %s WHERE last_value <> %s', q.relid, q.relid::regclass, q.last_value),
                      ' UNION ALL ') INTO reads FROM realstack.sequences q WHERE NOT q.is_called;
    EXECUTE format('CREATE OR REPLACE FUNCTION realstack.uncalled() RETURNS SETOF oid LANGUAGE plpgsql AS %L',
                   format('BEGIN RETURN QUERY %s; END', coalesce(reads, 'SELECT 0::oid WHERE false')));
END $body$;

-- Covers whatever is not covered yet and forgets what is gone; what is covered already keeps its baseline.
CREATE FUNCTION realstack.cover() RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    r record;
BEGIN
    CREATE TEMPORARY TABLE fresh ON COMMIT DROP AS
        SELECT u.relid, u.kind FROM realstack.user_relations() u
        WHERE u.relid NOT IN (SELECT c.relid FROM realstack.covered c);
    DELETE FROM realstack.covered c WHERE c.relid NOT IN (SELECT u.relid FROM realstack.user_relations() u);
    DELETE FROM realstack.sequences c WHERE c.relid NOT IN (SELECT u.relid FROM realstack.covered u);
    DELETE FROM realstack.views c WHERE c.relid NOT IN (SELECT u.relid FROM realstack.covered u);
    DELETE FROM realstack.baselines c WHERE c.relid NOT IN (SELECT u.relid FROM realstack.covered u);
    INSERT INTO realstack.covered SELECT f.relid, f.kind FROM pg_temp.fresh f;
    FOR r IN SELECT f.relid, f.kind FROM pg_temp.fresh f ORDER BY 1 LOOP
        IF r.kind IN ('r', 'p', 'f') THEN
            PERFORM realstack.watch(r.relid);
        END IF;
        IF r.kind = 'r' THEN
            PERFORM realstack.keep_rows(r.relid);
        ELSIF r.kind = 'S' THEN
            PERFORM realstack.keep_sequence(r.relid);
        ELSIF r.kind = 'm' THEN
            PERFORM realstack.keep_view(r.relid);
        END IF;
        IF r.kind <> 'S' THEN
            PERFORM realstack.write_restore(r.relid, r.kind);
        END IF;
    END LOOP;
    PERFORM realstack.write_dispatch();
    PERFORM realstack.write_uncalled();
END $body$;
