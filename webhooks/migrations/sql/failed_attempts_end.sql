-- Failed tries are evidence for as long as providers' events are, and then they go, oldest first
-- and a few at a time. Those of a dead letter stay: a person has still to decide about it. The
-- application owns none of this; it can only ask for what is older than three months.
CREATE FUNCTION public.webhooks_delete_failed_attempts(kept_since timestamptz, limit_count integer)
    RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    deleted integer;
BEGIN
    IF kept_since > clock_timestamp() - interval '3 months' OR limit_count NOT BETWEEN 1 AND 10000
    THEN
        RAISE EXCEPTION 'failed tries of the last three months are kept, and at most 10000 go at once'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    WITH old AS (
        SELECT attempt.id FROM public.webhooks_failed_attempt AS attempt
        WHERE attempt.recorded_at < kept_since
          AND NOT EXISTS (SELECT FROM public.webhooks_event_delivery AS delivery
                          WHERE attempt.kind = 'handler' AND delivery.status = 'dead'
                            AND delivery.id::text = attempt.row_id)
          AND NOT EXISTS (SELECT FROM public.webhooks_inbox_event AS event
                          WHERE attempt.kind = 'inbox' AND event.status = 'dead'
                            AND event.id::text = attempt.row_id)
        ORDER BY attempt.recorded_at LIMIT limit_count
        FOR UPDATE OF attempt SKIP LOCKED
    )
    DELETE FROM public.webhooks_failed_attempt AS attempt USING old WHERE attempt.id = old.id;
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;
REVOKE ALL ON FUNCTION public.webhooks_delete_failed_attempts(timestamptz, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.webhooks_delete_failed_attempts(timestamptz, integer)
    TO florin_app;
