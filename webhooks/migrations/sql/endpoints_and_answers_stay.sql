-- An endpoint is named by its deliveries and by the audit trail; deleting one is a status.
REVOKE DELETE, TRUNCATE ON webhooks_endpoint, webhooks_endpoint_health FROM florin_app;
REVOKE TRUNCATE ON webhooks_endpoint_hour FROM florin_app;

CREATE FUNCTION webhooks_refuse_rewriting() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'Bug! % % cannot become what was asked: %', TG_TABLE_NAME, OLD.id, TG_ARGV[0]
        USING ERRCODE = 'integrity_constraint_violation';
END $$;

-- Whose it is and in which mode decides which events go there.
CREATE TRIGGER endpoint_keeps_its_owner BEFORE UPDATE ON webhooks_endpoint
    FOR EACH ROW WHEN (
        (NEW.id, NEW.owner, NEW.livemode, NEW.created_at)
            IS DISTINCT FROM (OLD.id, OLD.owner, OLD.livemode, OLD.created_at)
        OR OLD.status = 'deleted' AND NEW.status <> 'deleted'
    ) EXECUTE FUNCTION webhooks_refuse_rewriting('its owner stays, and a deleted one is gone');

-- A fence that falls, or jumps, would let a sender that was given up for dead overwrite the answer
-- of its successor.
CREATE TRIGGER merchant_delivery_keeps_its_fence BEFORE UPDATE ON webhooks_merchant_delivery
    FOR EACH ROW WHEN (
        NEW.fence NOT IN (OLD.fence, OLD.fence + 1)
        OR (NEW.id, NEW.event_id, NEW.endpoint_id, NEW.created_at)
            IS DISTINCT FROM (OLD.id, OLD.event_id, OLD.endpoint_id, OLD.created_at)
    ) EXECUTE FUNCTION webhooks_refuse_rewriting('its fence grows by one, its event stays');

-- What a merchant's server said is evidence: written once, when the request ends.
CREATE TRIGGER delivery_attempt_ends_once BEFORE UPDATE ON webhooks_delivery_attempt
    FOR EACH ROW WHEN (
        OLD.outcome <> 'started'
        OR (NEW.id, NEW.delivery_id, NEW.number, NEW.started_at, NEW.url)
            IS DISTINCT FROM (OLD.id, OLD.delivery_id, OLD.number, OLD.started_at, OLD.url)
    ) EXECUTE FUNCTION webhooks_refuse_rewriting('an attempt ends once');

-- Also when triggers are off for replication.
ALTER TABLE webhooks_endpoint ENABLE ALWAYS TRIGGER endpoint_keeps_its_owner;
ALTER TABLE webhooks_merchant_delivery ENABLE ALWAYS TRIGGER merchant_delivery_keeps_its_fence;
ALTER TABLE webhooks_delivery_attempt ENABLE ALWAYS TRIGGER delivery_attempt_ends_once;
