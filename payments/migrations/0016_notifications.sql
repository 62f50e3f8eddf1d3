-- What no code path may do to notifications and the rules that cause them.

-- What was told, to whom and under which id never changes; what was sent or given up stays so; and
-- of two senders the one whose lease was taken over can write nothing any more.
CREATE FUNCTION payments_guard_notification() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    IF (NEW.id, NEW.rule_id, NEW.channel, NEW.recipient, NEW.kind, NEW.mode, NEW.subject, NEW.title,
        NEW.content, NEW.created_at) IS DISTINCT FROM
       (OLD.id, OLD.rule_id, OLD.channel, OLD.recipient, OLD.kind, OLD.mode, OLD.subject, OLD.title,
        OLD.content, OLD.created_at) THEN
        RAISE EXCEPTION 'notification %: what it tells never changes', OLD.id
            USING ERRCODE = '23514', CONSTRAINT = 'notification_content_is_fixed';
    END IF;
    IF OLD.status IN ('sent', 'discarded') THEN
        RAISE EXCEPTION 'notification % is %, which is its end', OLD.id, OLD.status
            USING ERRCODE = '23514', CONSTRAINT = 'notification_end_is_final';
    END IF;
    IF NEW.fence < OLD.fence THEN
        RAISE EXCEPTION 'notification %: its fence only rises', OLD.id
            USING ERRCODE = '23514', CONSTRAINT = 'notification_fence_rises';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER notification_guard BEFORE UPDATE ON payments_notification
    FOR EACH ROW EXECUTE FUNCTION payments_guard_notification();
ALTER TABLE payments_notification ENABLE ALWAYS TRIGGER notification_guard;

-- Messages and rules are evidence of who was told: they stay.
DO $$
DECLARE
    part text;
BEGIN
    FOREACH part IN ARRAY ARRAY['notification', 'notificationrule']
    LOOP
        EXECUTE format(
            'CREATE TRIGGER %1$s_no_delete BEFORE DELETE ON payments_%1$s '
            'FOR EACH ROW EXECUTE FUNCTION payments_refuse_change()', part);
        EXECUTE format('ALTER TABLE payments_%1$s ENABLE ALWAYS TRIGGER %1$s_no_delete', part);
        EXECUTE format(
            'CREATE TRIGGER %1$s_no_truncate BEFORE TRUNCATE ON payments_%1$s '
            'FOR EACH STATEMENT EXECUTE FUNCTION payments_refuse_change()', part);
        EXECUTE format('ALTER TABLE payments_%1$s ENABLE ALWAYS TRIGGER %1$s_no_truncate', part);
        EXECUTE format('REVOKE DELETE, TRUNCATE ON payments_%1$s FROM florin_app', part);
    END LOOP;
END $$;
