-- The two statements of the request path, as functions: PostgreSQL keeps a function's plans per
-- connection, so a caller pays one round trip and no planning, also behind a transaction pooler.

CREATE SEQUENCE webhooks_inbox_arrival AS bigint OWNED BY webhooks_inbox_event.arrival;

-- Stores one delivery of a provider. Only a key (an event that has had its effect) makes it a
-- duplicate. Returns whether it is one.
CREATE FUNCTION webhooks_receive(
    p_id text, p_provider text, p_account_id text, p_event_id text, p_event_type text,
    p_subject text, p_lane text, p_raw bytea, p_headers jsonb, p_received_at timestamptz
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_duplicate boolean;
BEGIN
    v_duplicate := EXISTS (
        SELECT FROM webhooks_inbox_key
        WHERE provider = p_provider AND account_id = p_account_id AND event_id = p_event_id
    );
    IF NOT v_duplicate THEN
        INSERT INTO webhooks_lane (key) VALUES (p_lane) ON CONFLICT DO NOTHING;
    END IF;
    INSERT INTO webhooks_inbox_event (
        id, arrival, provider, account_id, event_id, event_type, subject, lane, raw, headers,
        received_at, status, due_at, finished_at, failures, deferrals, interruptions,
        backoff_seconds, reason, error, payment_id
    ) VALUES (
        p_id, nextval('webhooks_inbox_arrival'), p_provider, p_account_id, p_event_id,
        p_event_type, p_subject, p_lane, p_raw, p_headers, p_received_at,
        CASE WHEN v_duplicate THEN 'duplicate' ELSE 'received' END,
        CASE WHEN v_duplicate THEN NULL ELSE p_received_at END,
        CASE WHEN v_duplicate THEN p_received_at END,
        0, 0, 0, 0, '', '', ''
    );
    RETURN v_duplicate;
END $$;

-- Appends one event to its stream and promises it to every handler that listens. The row of the
-- stream's head stays locked until the caller commits: that makes seq the order of commits.
CREATE FUNCTION webhooks_emit(
    p_id text, p_type text, p_aggregate_type text, p_aggregate_id text, p_owner text,
    p_livemode boolean, p_payload jsonb, p_occurred_at timestamptz, p_now timestamptz,
    p_causation_id text, p_handlers text[], p_policies text[]
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_seq bigint;
    v_lane text := 'outbox:' || p_aggregate_type || ':' || p_aggregate_id;
BEGIN
    INSERT INTO webhooks_event_stream AS head (aggregate_type, aggregate_id, last_seq)
    VALUES (p_aggregate_type, p_aggregate_id, 1)
    ON CONFLICT (aggregate_type, aggregate_id) DO UPDATE SET last_seq = head.last_seq + 1
    RETURNING last_seq INTO v_seq;
    IF v_seq = 1 THEN
        INSERT INTO webhooks_lane (key) VALUES (v_lane) ON CONFLICT DO NOTHING;
    END IF;
    INSERT INTO webhooks_domain_event (
        id, aggregate_type, aggregate_id, seq, type, owner, livemode, payload, causation_id,
        occurred_at, created_at
    ) VALUES (
        p_id, p_aggregate_type, p_aggregate_id, v_seq, p_type, p_owner, p_livemode, p_payload,
        p_causation_id, p_occurred_at, p_now
    );
    INSERT INTO webhooks_event_delivery (
        event_id, lane, seq, handler, policy, status, due_at, failures, interruptions,
        backoff_seconds, reason, error
    )
    SELECT p_id, v_lane, v_seq, handler.name, handler.policy, 'pending', p_now, 0, 0, 0, '', ''
    FROM unnest(p_handlers, p_policies) AS handler (name, policy);
    RETURN v_seq;
END $$;
