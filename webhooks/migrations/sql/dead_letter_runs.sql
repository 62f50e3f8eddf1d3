-- What failed and what a run reached is evidence; a run itself only moves on.
REVOKE UPDATE, DELETE, TRUNCATE ON webhooks_failed_attempt, webhooks_dead_letter_run_portion,
    webhooks_dead_letter_run FROM florin_app;
GRANT UPDATE (status, done, passed_over, cursor_kind, cursor, due_at, error, finished_at)
    ON webhooks_dead_letter_run TO florin_app;

-- What has ended stays as it ended.
CREATE FUNCTION webhooks_refuse_resuming() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'Bug! run % is % and cannot become %', OLD.id, OLD.status, NEW.status
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER dead_letter_run_keeps_its_end BEFORE UPDATE ON webhooks_dead_letter_run
    FOR EACH ROW WHEN (OLD.status <> 'running') EXECUTE FUNCTION webhooks_refuse_resuming();
ALTER TABLE webhooks_dead_letter_run ENABLE ALWAYS TRIGGER dead_letter_run_keeps_its_end;
