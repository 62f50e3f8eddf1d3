-- The inbox by months. The table of before becomes the partition of whatever has no month yet, and
-- webhooks_ensure_inbox_partitions moves its rows to their months, here as at any later time.
--
-- Unlike the audit log the inbox does not fail closed: a provider that is refused for days switches
-- its endpoint off. An event of a month without a partition is kept in the default one, `verify`
-- and a metric say so, and making the month moves it.

DROP VIEW webhooks_dead_letter;
DROP TRIGGER inbox_event_keeps_its_outcome ON webhooks_inbox_event;
ALTER TABLE webhooks_inbox_event DROP CONSTRAINT webhooks_inbox_event_pkey;
ALTER TABLE webhooks_inbox_event RENAME TO webhooks_inbox_event_default;
ALTER INDEX inbox_event_due RENAME TO inbox_event_default_due;
ALTER INDEX inbox_event_lane_open RENAME TO inbox_event_default_lane_open;
ALTER INDEX inbox_event_payment RENAME TO inbox_event_default_payment;
ALTER INDEX inbox_event_provider_event RENAME TO inbox_event_default_provider_event;
ALTER INDEX inbox_event_dead RENAME TO inbox_event_default_dead;
ALTER INDEX inbox_event_dead_arrival RENAME TO inbox_event_default_dead_arrival;

CREATE TABLE webhooks_inbox_event (
    LIKE webhooks_inbox_event_default INCLUDING ALL EXCLUDING INDEXES,
    PRIMARY KEY (id, received_at)
) PARTITION BY RANGE (received_at);
CREATE INDEX inbox_event_due ON webhooks_inbox_event (due_at)
    WHERE status IN ('received', 'deferred', 'failed');
CREATE INDEX inbox_event_lane_open ON webhooks_inbox_event (lane, arrival)
    WHERE status IN ('received', 'deferred', 'failed');
CREATE INDEX inbox_event_payment ON webhooks_inbox_event (payment_id, arrival)
    WHERE NOT (payment_id = '');
CREATE INDEX inbox_event_provider_event ON webhooks_inbox_event (event_id);
CREATE INDEX inbox_event_dead ON webhooks_inbox_event (id) WHERE status = 'dead';
CREATE INDEX inbox_event_dead_arrival ON webhooks_inbox_event (arrival) WHERE status = 'dead';
ALTER SEQUENCE webhooks_inbox_arrival OWNED BY webhooks_inbox_event.arrival;

-- A row trigger of the whole is cloned to each part, now and later, and fires as it does there.
CREATE TRIGGER inbox_event_keeps_its_outcome BEFORE UPDATE OF status ON webhooks_inbox_event
    FOR EACH ROW WHEN (
        OLD.status IN ('processed', 'superseded', 'ignored', 'duplicate', 'discarded')
        AND NEW.status IS DISTINCT FROM OLD.status
    ) EXECUTE FUNCTION webhooks_refuse_reopening();
ALTER TABLE webhooks_inbox_event ENABLE ALWAYS TRIGGER inbox_event_keeps_its_outcome;
ALTER TABLE webhooks_inbox_event ATTACH PARTITION webhooks_inbox_event_default DEFAULT;

-- As before; the parts are reached through the whole only, but for looking into the default one.
REVOKE UPDATE, DELETE, TRUNCATE ON webhooks_inbox_event FROM florin_app;
GRANT UPDATE (
    status, due_at, failures, deferrals, interruptions, backoff_seconds, reason, error,
    payment_id, finished_at
) ON webhooks_inbox_event TO florin_app;
REVOKE ALL ON webhooks_inbox_event_default FROM PUBLIC, florin_app;
GRANT SELECT ON webhooks_inbox_event_default TO florin_app;

-- Makes the partitions of the month of `as_of` and of `months_ahead` months after it, and of every
-- earlier month of which the default partition has rows; moves those rows. Returns how many it
-- made. Attaching looks through the default partition under its strongest lock: nothing while it is
-- empty, else it waits at most two seconds to begin and the caller comes again.
CREATE FUNCTION public.webhooks_ensure_inbox_partitions(as_of timestamptz, months_ahead integer)
    RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '2s' AS $$
DECLARE
    first_month timestamp := date_trunc('month', as_of AT TIME ZONE 'UTC');
    last_month timestamp := first_month + make_interval(months => months_ahead);
    month_start timestamp;
    bounds text;
    partition text;
    made integer := 0;
BEGIN
    IF months_ahead NOT BETWEEN 0 AND 12
       OR abs(extract(epoch FROM as_of - clock_timestamp())) > 400 * 86400 THEN
        RAISE EXCEPTION 'inbox partitions are made for 0 to 12 months ahead of about now'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('webhooks_ensure_inbox_partitions', 0));
    FOR month_start IN
        SELECT generate_series(first_month, last_month, '1 month')
        UNION
        SELECT date_trunc('month', received_at AT TIME ZONE 'UTC')
        FROM public.webhooks_inbox_event_default
        WHERE received_at < first_month AT TIME ZONE 'UTC'
        ORDER BY 1
    LOOP
        partition := 'webhooks_inbox_event' || to_char(month_start, '_YYYY_MM');
        IF to_regclass('public.' || partition) IS NOT NULL THEN
            IF NOT EXISTS (SELECT FROM pg_inherits
                           WHERE inhrelid = to_regclass('public.' || partition)
                             AND inhparent = 'public.webhooks_inbox_event'::regclass) THEN
                RAISE EXCEPTION '% exists, but is not a partition of the inbox: was it detached?',
                    partition USING ERRCODE = 'object_not_in_prerequisite_state';
            END IF;
            CONTINUE;
        END IF;
        EXECUTE format(
            'CREATE TABLE public.%I (LIKE public.webhooks_inbox_event INCLUDING ALL) WITH ('
            'fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02, '
            'autovacuum_analyze_scale_factor = 0.02)', partition);
        EXECUTE format('REVOKE ALL ON public.%I FROM PUBLIC, florin_app', partition);
        LOCK TABLE public.webhooks_inbox_event_default IN ACCESS EXCLUSIVE MODE;
        bounds := format('FROM (%L) TO (%L)', month_start AT TIME ZONE 'UTC',
                         (month_start + interval '1 month') AT TIME ZONE 'UTC');
        EXECUTE format(
            'WITH moved AS (DELETE FROM public.webhooks_inbox_event_default '
            'WHERE received_at >= %L AND received_at < %L RETURNING *) '
            'INSERT INTO public.%I SELECT * FROM moved', month_start AT TIME ZONE 'UTC',
            (month_start + interval '1 month') AT TIME ZONE 'UTC', partition);
        EXECUTE format('ALTER TABLE public.webhooks_inbox_event ATTACH PARTITION public.%I '
                       'FOR VALUES %s', partition, bounds);
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;

-- Drops the partition of one month, whole. Refused while a row in it still waits, for a process or
-- for a person, and for the last three months whatever is asked. Nobody can read or write the inbox
-- until the caller commits, so call it last; it waits at most two seconds to begin.
CREATE FUNCTION public.webhooks_drop_inbox_month(month_start date) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '2s' AS $$
DECLARE
    partition text := 'webhooks_inbox_event' || to_char(month_start, '_YYYY_MM');
    waiting bigint;
BEGIN
    IF month_start > date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC')
                     - interval '4 months' THEN
        RAISE EXCEPTION 'the inbox of the last three months is kept, % belongs to them', month_start
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    LOCK TABLE public.webhooks_inbox_event IN ACCESS EXCLUSIVE MODE;
    IF NOT EXISTS (SELECT FROM pg_inherits
                   WHERE inhrelid = to_regclass('public.' || partition)
                     AND inhparent = 'public.webhooks_inbox_event'::regclass) THEN
        RAISE EXCEPTION '% is not a partition of the inbox', partition
            USING ERRCODE = 'undefined_table';
    END IF;
    EXECUTE format(
        'SELECT (SELECT count(*) FROM public.%1$I '
        'WHERE status IN (''received'', ''deferred'', ''failed'')) + '
        '(SELECT count(*) FROM public.%1$I WHERE status = ''dead'')', partition) INTO waiting;
    IF waiting > 0 THEN
        RAISE EXCEPTION '% events of % have not ended: replay or discard the dead ones first',
            waiting, partition USING ERRCODE = 'object_in_use';
    END IF;
    EXECUTE format('DROP TABLE public.%I', partition);
END
$$;

REVOKE ALL ON FUNCTION public.webhooks_ensure_inbox_partitions(timestamptz, integer),
    public.webhooks_drop_inbox_month(date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.webhooks_ensure_inbox_partitions(timestamptz, integer),
    public.webhooks_drop_inbox_month(date) TO florin_app;

-- A drain looks into every partition, as an event that was replayed may be of any month. A function
-- keeps its plan per connection; planning that look anew each time would cost more than the look.
CREATE FUNCTION webhooks_lock_inbox_lane(p_now timestamptz) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_lane text;
BEGIN
    SELECT event.lane INTO v_lane
    FROM webhooks_inbox_event AS event JOIN webhooks_lane AS lane ON lane.key = event.lane
    WHERE event.status IN ('received', 'deferred', 'failed') AND event.due_at <= p_now
    ORDER BY event.due_at LIMIT 1
    FOR UPDATE OF lane SKIP LOCKED;
    RETURN v_lane;
END $$;
CREATE FUNCTION webhooks_open_inbox_events(p_lane text, p_now timestamptz, p_limit integer)
    RETURNS SETOF webhooks_inbox_event LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY
    SELECT * FROM webhooks_inbox_event
    WHERE lane = p_lane AND status IN ('received', 'deferred', 'failed')
      AND (due_at <= p_now OR status = 'failed')
    ORDER BY arrival LIMIT p_limit;
END $$;

SELECT public.webhooks_ensure_inbox_partitions(clock_timestamp(), 3);
