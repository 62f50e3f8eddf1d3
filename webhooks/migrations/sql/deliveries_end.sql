-- Deliveries that ended go after their time, oldest first and a few at a time. What waits or is dead
-- stays, whatever its age: a process or a person has still to decide about it. The application still
-- may not delete: it asks the function below, which knows the limit, and the triggers hold for
-- whoever asks.
CREATE FUNCTION webhooks_refuse_deletion() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% % has not ended three months ago and stays', TG_TABLE_NAME, OLD.id
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER merchant_delivery_is_kept BEFORE DELETE ON webhooks_merchant_delivery
    FOR EACH ROW WHEN (
        OLD.status NOT IN ('delivered', 'discarded')
        OR coalesce(OLD.finished_at >= clock_timestamp() - interval '3 months', true)
    ) EXECUTE FUNCTION webhooks_refuse_deletion();
CREATE TRIGGER event_delivery_is_kept BEFORE DELETE ON webhooks_event_delivery
    FOR EACH ROW WHEN (
        OLD.status NOT IN ('done', 'discarded')
        OR coalesce(OLD.finished_at >= clock_timestamp() - interval '3 months', true)
    ) EXECUTE FUNCTION webhooks_refuse_deletion();

CREATE FUNCTION webhooks_refuse_deleting_attempt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM public.webhooks_merchant_delivery
        WHERE id = OLD.delivery_id
          AND (status NOT IN ('delivered', 'discarded')
               OR coalesce(finished_at >= clock_timestamp() - interval '3 months', true))
    ) THEN
        RAISE EXCEPTION '% % is of a delivery that has not ended three months ago, and stays',
            TG_TABLE_NAME, OLD.id USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER delivery_attempt_is_kept BEFORE DELETE ON webhooks_delivery_attempt
    FOR EACH ROW EXECUTE FUNCTION webhooks_refuse_deleting_attempt();
ALTER TABLE webhooks_merchant_delivery ENABLE ALWAYS TRIGGER merchant_delivery_is_kept;
ALTER TABLE webhooks_event_delivery ENABLE ALWAYS TRIGGER event_delivery_is_kept;
ALTER TABLE webhooks_delivery_attempt ENABLE ALWAYS TRIGGER delivery_attempt_is_kept;

REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON webhooks_deleted_promises FROM florin_app;

-- Ids begin with their time, so nothing made after `kept_since` is looked at: `delivery_end` and
-- `event_end` are the first ids of that moment. They bound the reading, not what may go.
CREATE FUNCTION public.webhooks_delete_old_deliveries(
    kept_since timestamptz, delivery_end text, event_end text, limit_count integer,
    OUT to_merchants integer, OUT attempts integer, OUT to_handlers integer
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF kept_since > clock_timestamp() - interval '3 months' OR limit_count NOT BETWEEN 1 AND 10000
    THEN
        RAISE EXCEPTION 'deliveries of the last three months are kept, and at most 10000 go at once'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    WITH old AS (
        SELECT id FROM public.webhooks_merchant_delivery
        WHERE id < delivery_end AND status IN ('delivered', 'discarded')
          AND finished_at < kept_since
        ORDER BY id LIMIT limit_count FOR UPDATE SKIP LOCKED
    ), tried AS (
        DELETE FROM public.webhooks_delivery_attempt AS attempt USING old
        WHERE attempt.delivery_id = old.id RETURNING 1
    ), gone AS (
        DELETE FROM public.webhooks_merchant_delivery AS delivery USING old
        WHERE delivery.id = old.id RETURNING 1
    )
    SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM tried) INTO to_merchants, attempts;
    WITH old AS (
        SELECT id FROM public.webhooks_event_delivery
        WHERE event_id < event_end AND status IN ('done', 'discarded')
          AND finished_at < kept_since
        ORDER BY event_id LIMIT limit_count FOR UPDATE SKIP LOCKED
    ), gone AS (
        DELETE FROM public.webhooks_event_delivery AS delivery USING old
        WHERE delivery.id = old.id RETURNING delivery.handler, delivery.event_id
    ), remembered AS (
        INSERT INTO public.webhooks_deleted_promises AS known (handler, last_event_id)
        SELECT handler, max(event_id) FROM gone GROUP BY handler
        ON CONFLICT (handler) DO UPDATE
            SET last_event_id = greatest(known.last_event_id, excluded.last_event_id)
    )
    SELECT count(*) FROM gone INTO to_handlers;
END
$$;
REVOKE ALL ON FUNCTION public.webhooks_delete_old_deliveries(timestamptz, text, text, integer)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.webhooks_delete_old_deliveries(timestamptz, text, text, integer)
    TO florin_app;
