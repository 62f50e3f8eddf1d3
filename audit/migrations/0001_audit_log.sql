-- The audit log: append-only, partitioned by month, every row with the bytes its hash was taken of.
--
-- audit_event      one row per event. `body` and `reference_list` are canonical JSON (RFC 8785) kept
--                  as text, because jsonb reorders keys and forgets duplicates; `body_json` is
--                  derived from `body` and only for search. `leaf_hash` is computed here, by a
--                  trigger, over all evidence of the row (audit/canonical.py writes the same bytes).
-- audit_reference  where an id was mentioned: derived from `reference_list` by the same trigger, so
--                  the application can neither forge nor forget it.
--
-- The application may read and append, by naming the columns it may fill; the time, the transaction
-- id, the number and the hash are the database's. Changing, deleting and truncating is refused to
-- everybody, the owner included, by triggers that fire in replica mode too. An owner who alters the
-- schema first is found by audit.verify.

CREATE TABLE public.audit_event (
    id bigint GENERATED ALWAYS AS IDENTITY,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- For the sealer: rows are complete below the commit horizon, which ids do not tell.
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    occurred_at timestamptz NOT NULL,
    event_type text COLLATE "C" NOT NULL,
    actor_type text COLLATE "C" NOT NULL,
    actor_id text COLLATE "C" NOT NULL,
    actor_display text COLLATE "C" NOT NULL,
    stream_type text COLLATE "C" NOT NULL,
    stream_id text COLLATE "C" NOT NULL,
    trace_id text COLLATE "C" NOT NULL,
    request_id text COLLATE "C" NOT NULL,
    reason text COLLATE "C" NOT NULL,
    redacted boolean NOT NULL,
    reference_list text COLLATE "C" NOT NULL,
    body text COLLATE "C" NOT NULL,
    leaf_hash bytea NOT NULL,
    PRIMARY KEY (id, recorded_at)
) PARTITION BY RANGE (recorded_at);

-- Computed when it is read, where PostgreSQL can do that: stored, it doubles every row.
DO $$
BEGIN
    EXECUTE 'ALTER TABLE public.audit_event ADD COLUMN body_json jsonb GENERATED ALWAYS AS '
        || '(body::jsonb) ' || CASE WHEN current_setting('server_version_num')::integer >= 180000
                                    THEN 'VIRTUAL' ELSE 'STORED' END;
END
$$;

CREATE INDEX audit_event_stream ON public.audit_event (stream_id, stream_type, recorded_at, id);
CREATE INDEX audit_event_actor ON public.audit_event (actor_id, recorded_at);
CREATE INDEX audit_event_trace ON public.audit_event (trace_id) WHERE trace_id <> '';
CREATE INDEX audit_event_request ON public.audit_event (request_id) WHERE request_id <> '';

CREATE TABLE public.audit_reference (
    value text COLLATE "C" NOT NULL,
    type text COLLATE "C" NOT NULL,
    recorded_at timestamptz NOT NULL,
    event_id bigint NOT NULL
) PARTITION BY RANGE (recorded_at);

CREATE INDEX audit_reference_value ON public.audit_reference (value, recorded_at, event_id);

CREATE FUNCTION public.audit_complete_event() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    header text := concat_ws(E'\n',
        'florin-audit-event-v1',
        NEW.id,
        (extract(epoch FROM NEW.recorded_at) * 1000000)::bigint,
        NEW.xid,
        (extract(epoch FROM NEW.occurred_at) * 1000000)::bigint,
        NEW.event_type,
        NEW.actor_type,
        NEW.actor_id,
        NEW.actor_display,
        NEW.stream_type,
        NEW.stream_id,
        NEW.trace_id,
        NEW.request_id,
        NEW.reason,
        NEW.redacted);
BEGIN
    -- Checked here instead of by a constraint per column: PostgreSQL prepares every constraint of
    -- a table anew for every statement, which cost more than the insert itself. Each field is one
    -- line of the hashed text; a line break inside would make two different events look alike.
    IF header !~ '^\S+\n\d+\n\d+\n\d+\n-?\d+\n[a-z][a-z0-9_]*([.][a-z][a-z0-9_]*)+\n(user|api_key|psp|job|system|payer)\n[^\n]+\n[^\n]*\n[a-z][a-z0-9_]*\n[^\n]+\n([0-9a-f]{32})?\n[^\n]*\n[^\n]*\n[tf]$'
       OR strpos(NEW.body, E'\n') > 0 OR strpos(NEW.reference_list, E'\n') > 0
       OR NEW.body IS NOT JSON OBJECT WITH UNIQUE KEYS
    THEN
        RAISE EXCEPTION 'audit_event refused: a field is empty, of no known form, or has a line '
            'break' USING ERRCODE = 'check_violation', CONSTRAINT = 'audit_event_evidence';
    END IF;
    -- The time is given by the column default. Rewriting it here could move the row to another
    -- partition, which PostgreSQL refuses; so a time of somebody's own choice is refused instead.
    IF NEW.xid <> pg_current_xact_id()
       OR NEW.recorded_at NOT BETWEEN clock_timestamp() - interval '1 minute'
                                  AND clock_timestamp() + interval '1 minute' THEN
        RAISE EXCEPTION 'audit_event refused: recorded_at and xid tell when and where the row was '
            'written and cannot be chosen' USING ERRCODE = 'check_violation',
            CONSTRAINT = 'audit_event_evidence';
    END IF;
    NEW.leaf_hash := sha256('\x00'::bytea || convert_to(
        concat_ws(E'\n', header, NEW.reference_list, NEW.body), 'UTF8'));
    IF NEW.reference_list <> '[]' THEN
        INSERT INTO public.audit_reference (value, type, recorded_at, event_id)
        SELECT reference ->> 1, reference ->> 0, NEW.recorded_at, NEW.id
        FROM jsonb_array_elements(NEW.reference_list::jsonb) AS reference;
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION public.audit_refuse_change() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: its rows are evidence and stay as they were written',
        TG_OP, TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;

-- Row triggers of a partitioned table are cloned to its partitions, now and later. Statement
-- triggers are not: TRUNCATE needs one on every partition (audit_ensure_partitions sees to it).
CREATE TRIGGER audit_complete_event BEFORE INSERT ON public.audit_event
    FOR EACH ROW EXECUTE FUNCTION public.audit_complete_event();
CREATE TRIGGER audit_refuse_change BEFORE UPDATE OR DELETE ON public.audit_event
    FOR EACH ROW EXECUTE FUNCTION public.audit_refuse_change();
CREATE TRIGGER audit_refuse_truncate BEFORE TRUNCATE ON public.audit_event
    FOR EACH STATEMENT EXECUTE FUNCTION public.audit_refuse_change();
CREATE TRIGGER audit_refuse_change BEFORE UPDATE OR DELETE ON public.audit_reference
    FOR EACH ROW EXECUTE FUNCTION public.audit_refuse_change();
CREATE TRIGGER audit_refuse_truncate BEFORE TRUNCATE ON public.audit_reference
    FOR EACH STATEMENT EXECUTE FUNCTION public.audit_refuse_change();

-- Ordinary triggers sleep while session_replication_role is 'replica'.
ALTER TABLE public.audit_event ENABLE ALWAYS TRIGGER audit_complete_event;
ALTER TABLE public.audit_event ENABLE ALWAYS TRIGGER audit_refuse_change;
ALTER TABLE public.audit_event ENABLE ALWAYS TRIGGER audit_refuse_truncate;
ALTER TABLE public.audit_reference ENABLE ALWAYS TRIGGER audit_refuse_change;
ALTER TABLE public.audit_reference ENABLE ALWAYS TRIGGER audit_refuse_truncate;

-- Makes the partitions of the month of `as_of` and of `months_ahead` months after it, with triggers
-- and without rights for the application, and returns how many it made. The application may call
-- it, because no month may begin without a partition: then nothing could be recorded, and so
-- nothing be done. ATTACH, unlike PARTITION OF, lets others read and append meanwhile.
CREATE FUNCTION public.audit_ensure_partitions(as_of timestamptz, months_ahead integer)
    RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parent text;
    partition text;
    month_start timestamp;
    made integer := 0;
BEGIN
    IF months_ahead NOT BETWEEN 0 AND 12
       OR abs(extract(epoch FROM as_of - clock_timestamp())) > 400 * 86400 THEN
        RAISE EXCEPTION 'audit partitions are made for 0 to 12 months ahead of about now'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('audit_ensure_partitions', 0));
    FOR month_start IN
        SELECT generate_series(first, first + make_interval(months => months_ahead), '1 month')
        FROM date_trunc('month', as_of AT TIME ZONE 'UTC') AS first
    LOOP
        FOREACH parent IN ARRAY ARRAY['audit_event', 'audit_reference'] LOOP
            partition := parent || to_char(month_start, '_YYYY_MM');
            IF to_regclass('public.' || partition) IS NOT NULL THEN
                IF NOT EXISTS (SELECT FROM pg_inherits
                               WHERE inhrelid = to_regclass('public.' || partition)
                                 AND inhparent = to_regclass('public.' || parent)) THEN
                    RAISE EXCEPTION '% exists, but is not a partition of %: was it detached?',
                        partition, parent USING ERRCODE = 'object_not_in_prerequisite_state';
                END IF;
                CONTINUE;
            END IF;
            EXECUTE format('CREATE TABLE public.%I (LIKE public.%I INCLUDING ALL '
                           'EXCLUDING IDENTITY)', partition, parent);
            EXECUTE format('REVOKE ALL ON public.%I FROM PUBLIC, florin_app', partition);
            EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I '
                           'FOR VALUES FROM (%L) TO (%L)', parent, partition,
                           month_start AT TIME ZONE 'UTC',
                           (month_start + interval '1 month') AT TIME ZONE 'UTC');
            EXECUTE format('CREATE TRIGGER audit_refuse_truncate BEFORE TRUNCATE ON public.%I '
                           'FOR EACH STATEMENT EXECUTE FUNCTION public.audit_refuse_change()',
                           partition);
            EXECUTE format('ALTER TABLE public.%I ENABLE ALWAYS TRIGGER audit_refuse_truncate',
                           partition);
            made := made + 1;
        END LOOP;
    END LOOP;
    RETURN made;
END
$$;

-- Default privileges gave the application more than it needs.
REVOKE ALL ON public.audit_event, public.audit_reference FROM PUBLIC, florin_app;
REVOKE ALL ON SEQUENCE public.audit_event_id_seq FROM PUBLIC, florin_app;
GRANT SELECT ON public.audit_event, public.audit_reference TO florin_app;
GRANT INSERT (occurred_at, event_type, actor_type, actor_id, actor_display, stream_type, stream_id,
              trace_id, request_id, reason, redacted, reference_list, body)
    ON public.audit_event TO florin_app;
REVOKE ALL ON FUNCTION public.audit_complete_event(), public.audit_refuse_change(),
    public.audit_ensure_partitions(timestamptz, integer)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.audit_ensure_partitions(timestamptz, integer) TO florin_app;

SELECT public.audit_ensure_partitions(clock_timestamp(), 3);
