-- What was told is evidence for as long as providers' events are; what was sent or given up goes
-- then, oldest first and a few at a time. What is dead or waits stays, whatever its age. The
-- application still may not delete: it asks this function, which knows the limit.
DROP TRIGGER notification_no_delete ON payments_notification;
CREATE TRIGGER notification_no_delete BEFORE DELETE ON payments_notification
    FOR EACH ROW WHEN (
        OLD.status NOT IN ('sent', 'discarded')
        OR OLD.finished_at >= clock_timestamp() - interval '3 months'
    ) EXECUTE FUNCTION payments_refuse_change();
ALTER TABLE payments_notification ENABLE ALWAYS TRIGGER notification_no_delete;

CREATE FUNCTION public.payments_delete_notifications(kept_since timestamptz, limit_count integer)
    RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    deleted integer;
BEGIN
    IF kept_since > clock_timestamp() - interval '3 months' OR limit_count NOT BETWEEN 1 AND 10000
    THEN
        RAISE EXCEPTION 'notifications of the last three months are kept, at most 10000 go at once'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    DELETE FROM public.payments_notification WHERE id IN (
        SELECT id FROM public.payments_notification
        WHERE status IN ('sent', 'discarded') AND finished_at < kept_since
        ORDER BY finished_at LIMIT limit_count FOR UPDATE SKIP LOCKED
    );
    GET DIAGNOSTICS deleted = ROW_COUNT;
    RETURN deleted;
END
$$;
REVOKE ALL ON FUNCTION public.payments_delete_notifications(timestamptz, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.payments_delete_notifications(timestamptz, integer) TO florin_app;
