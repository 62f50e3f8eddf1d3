-- What must be true of the pipeline whoever writes to it.

-- Evidence is append-only for the application: it may move an inbox event along, not rewrite what
-- a provider sent; a domain event is a fact and stays as it is.
REVOKE UPDATE, DELETE, TRUNCATE ON webhooks_domain_event, webhooks_inbox_event,
    webhooks_inbox_key FROM florin_app;
GRANT UPDATE (
    status, due_at, failures, deferrals, interruptions, backoff_seconds, reason, error,
    payment_id, finished_at
) ON webhooks_inbox_event TO florin_app;
REVOKE DELETE, TRUNCATE ON webhooks_event_stream, webhooks_event_delivery,
    webhooks_merchant_delivery, webhooks_delivery_attempt, webhooks_lane FROM florin_app;

-- An outcome is for ever: what had its effect is never queued again.
CREATE FUNCTION webhooks_refuse_reopening() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'Bug! % % is % and cannot become %: it has had its effect',
        TG_TABLE_NAME, OLD.id, OLD.status, NEW.status USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER inbox_event_keeps_its_outcome BEFORE UPDATE OF status ON webhooks_inbox_event
    FOR EACH ROW WHEN (
        OLD.status IN ('processed', 'superseded', 'ignored', 'duplicate', 'discarded')
        AND NEW.status IS DISTINCT FROM OLD.status
    ) EXECUTE FUNCTION webhooks_refuse_reopening();
CREATE TRIGGER event_delivery_keeps_its_outcome BEFORE UPDATE OF status ON webhooks_event_delivery
    FOR EACH ROW WHEN (
        OLD.status IN ('done', 'discarded') AND NEW.status IS DISTINCT FROM OLD.status
    ) EXECUTE FUNCTION webhooks_refuse_reopening();

-- A head moves by one and only forward.
CREATE FUNCTION webhooks_refuse_head_jump() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'Bug! stream %:% cannot go from seq % to %',
        OLD.aggregate_type, OLD.aggregate_id, OLD.last_seq, NEW.last_seq
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER event_stream_moves_by_one BEFORE UPDATE ON webhooks_event_stream
    FOR EACH ROW WHEN (NEW.last_seq <> OLD.last_seq + 1)
    EXECUTE FUNCTION webhooks_refuse_head_jump();

-- A handler that blocks never sees event n before it is through with every earlier one.
CREATE FUNCTION webhooks_check_handler_order() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_offence record;
BEGIN
    SELECT ahead.id, earlier.id AS earlier_id INTO v_offence
    FROM changed AS ahead
    JOIN webhooks_event_delivery AS earlier
      ON earlier.lane = ahead.lane AND earlier.handler = ahead.handler
     AND earlier.seq < ahead.seq AND earlier.status IN ('pending', 'failed', 'dead')
    WHERE ahead.status = 'done' AND ahead.policy = 'block'
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'Bug! delivery % is done before the earlier delivery % of the same stream',
            v_offence.id, v_offence.earlier_id USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER event_delivery_in_order AFTER UPDATE ON webhooks_event_delivery
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION webhooks_check_handler_order();

-- Also when triggers are off for replication.
ALTER TABLE webhooks_inbox_event ENABLE ALWAYS TRIGGER inbox_event_keeps_its_outcome;
ALTER TABLE webhooks_event_delivery ENABLE ALWAYS TRIGGER event_delivery_keeps_its_outcome;
ALTER TABLE webhooks_event_delivery ENABLE ALWAYS TRIGGER event_delivery_in_order;
ALTER TABLE webhooks_event_stream ENABLE ALWAYS TRIGGER event_stream_moves_by_one;
