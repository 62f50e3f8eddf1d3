-- What a handler is promised later keeps its order too: a handler that blocks is never promised an
-- event that precedes one it has done. Handlers that skip pay nothing; one that blocks pays one
-- look for later events of the stream, of which a new event has none.
CREATE FUNCTION webhooks_refuse_late_promise() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM webhooks_domain_event AS event
        JOIN webhooks_domain_event AS later
          ON later.aggregate_type = event.aggregate_type
         AND later.aggregate_id = event.aggregate_id AND later.seq > event.seq
        JOIN webhooks_event_delivery AS done ON done.event_id = later.id
        WHERE event.id = NEW.event_id AND done.handler = NEW.handler AND done.status = 'done'
    ) THEN
        RAISE EXCEPTION 'Bug! % has done a later event of the stream than %',
            NEW.handler, NEW.event_id USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER event_delivery_not_overtaken AFTER INSERT ON webhooks_event_delivery
    FOR EACH ROW WHEN (NEW.policy = 'block') EXECUTE FUNCTION webhooks_refuse_late_promise();
ALTER TABLE webhooks_event_delivery ENABLE ALWAYS TRIGGER event_delivery_not_overtaken;
