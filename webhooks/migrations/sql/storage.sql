-- Hot rows leave room on their page, and queues are vacuumed long before a fifth of them changed.
ALTER TABLE webhooks_event_stream SET (fillfactor = 70);
ALTER TABLE webhooks_endpoint_health SET (fillfactor = 50);
ALTER TABLE webhooks_inbox_event SET (
    fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02
);
ALTER TABLE webhooks_event_delivery SET (
    fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02
);
ALTER TABLE webhooks_merchant_delivery SET (
    fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02
);
ALTER TABLE webhooks_drain_footprint SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500
);

-- Django adds a second index for LIKE to each text key; every id here is looked up whole.
DO $$
DECLARE
    v_index regclass;
BEGIN
    FOR v_index IN
        SELECT i.indexrelid::regclass FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        JOIN pg_class t ON t.oid = i.indrelid
        WHERE t.relname LIKE 'webhooks\_%' AND t.relnamespace = current_schema()::regnamespace
          AND c.relname LIKE '%\_like'
    LOOP
        EXECUTE format('DROP INDEX %s', v_index);
    END LOOP;
END $$;
