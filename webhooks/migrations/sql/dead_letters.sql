CREATE VIEW webhooks_dead_letter AS
SELECT 'inbox:' || id AS id, 'inbox' AS kind, id::text AS row_id,
       event_type || ' from ' || provider AS what, event_id, reason, error,
       failures + interruptions AS attempts, 0 AS holds, finished_at AS died_at
FROM webhooks_inbox_event WHERE status = 'dead'
UNION ALL
SELECT 'handler:' || d.id, 'handler', d.id::text, e.type || ' to ' || d.handler, e.id, d.reason,
       d.error, d.failures + d.interruptions,
       CASE d.policy WHEN 'block' THEN (
           SELECT count(*)::int FROM webhooks_event_delivery AS held
           WHERE held.lane = d.lane AND held.handler = d.handler AND held.seq > d.seq
             AND held.status IN ('pending', 'failed', 'dead')
       ) ELSE 0 END,
       d.finished_at
FROM webhooks_event_delivery AS d JOIN webhooks_domain_event AS e ON e.id = d.event_id
WHERE d.status = 'dead'
UNION ALL
SELECT 'merchant:' || m.id, 'merchant', m.id::text, e.type || ' to ' || p.url, e.id, m.reason, '',
       m.attempts, 0, m.finished_at
FROM webhooks_merchant_delivery AS m JOIN webhooks_domain_event AS e ON e.id = m.event_id
JOIN webhooks_endpoint AS p ON p.id = m.endpoint_id
WHERE m.status = 'dead';
