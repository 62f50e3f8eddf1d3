-- What no code path may do to a payment, whoever wrote the code.

-- Whose money it is, how much and in what never changes; a state moves only with its version.
CREATE FUNCTION payments_guard_payment() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    IF (NEW.id, NEW.merchant_id, NEW.livemode, NEW.provider_account_id, NEW.amount_minor,
        NEW.currency, NEW.capture_method, NEW.created_at)
       IS DISTINCT FROM
       (OLD.id, OLD.merchant_id, OLD.livemode, OLD.provider_account_id, OLD.amount_minor,
        OLD.currency, OLD.capture_method, OLD.created_at) THEN
        RAISE EXCEPTION 'payment %: merchant, mode, account, amount and currency never change', OLD.id
            USING ERRCODE = '23514', CONSTRAINT = 'payment_identity_is_fixed';
    END IF;
    IF NEW.version < OLD.version OR (NEW.state <> OLD.state AND NEW.version = OLD.version) THEN
        RAISE EXCEPTION 'payment %: a state moves only with its version (% at %, % at %)',
            OLD.id, OLD.state, OLD.version, NEW.state, NEW.version
            USING ERRCODE = '23514', CONSTRAINT = 'payment_state_moves_with_version';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER payment_guard BEFORE UPDATE ON payments_payment
    FOR EACH ROW EXECUTE FUNCTION payments_guard_payment();
ALTER TABLE payments_payment ENABLE ALWAYS TRIGGER payment_guard;

-- At commit, every version has its transition and the last one leads to the state held.
CREATE FUNCTION payments_check_transitions() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
DECLARE
    first_new integer := CASE WHEN TG_OP = 'INSERT' THEN 1 ELSE OLD.version + 1 END;
    found_count bigint;
    leads_to text;
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.version = OLD.version THEN
        RETURN NULL;
    END IF;
    SELECT count(*), max(t.to_state) FILTER (WHERE t.version = NEW.version)
      INTO found_count, leads_to
      FROM public.payments_transition t
     WHERE t.payment_id = NEW.id AND t.version BETWEEN first_new AND NEW.version;
    IF found_count <> NEW.version - first_new + 1 OR leads_to IS DISTINCT FROM NEW.state THEN
        RAISE EXCEPTION 'payment %: version % (%) has no matching transition record',
            NEW.id, NEW.version, NEW.state
            USING ERRCODE = '23514', CONSTRAINT = 'payment_version_has_transition';
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER payment_has_transitions
    AFTER INSERT OR UPDATE ON payments_payment
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION payments_check_transitions();
ALTER TABLE payments_payment ENABLE ALWAYS TRIGGER payment_has_transitions;

-- A transition is written once.
CREATE FUNCTION payments_refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    RAISE EXCEPTION '% on % is forbidden: it is append-only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = '42501';
END $$;

CREATE TRIGGER transition_append_only BEFORE UPDATE OR DELETE ON payments_transition
    FOR EACH ROW EXECUTE FUNCTION payments_refuse_change();
ALTER TABLE payments_transition ENABLE ALWAYS TRIGGER transition_append_only;
CREATE TRIGGER transition_append_only_truncate BEFORE TRUNCATE ON payments_transition
    FOR EACH STATEMENT EXECUTE FUNCTION payments_refuse_change();
ALTER TABLE payments_transition ENABLE ALWAYS TRIGGER transition_append_only_truncate;

-- At commit, a transition belongs to a version its payment has reached, and the latest one leads to
-- the state held: nobody can put a record ahead of the payment and so block its next move.
CREATE FUNCTION payments_check_transition() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
DECLARE
    held record;
BEGIN
    SELECT p.version, p.state INTO held FROM public.payments_payment p WHERE p.id = NEW.payment_id;
    IF NEW.version > held.version
       OR (NEW.version = held.version AND NEW.to_state <> held.state) THEN
        RAISE EXCEPTION 'payment %: a transition to version % (%), but it is at version % (%)',
            NEW.payment_id, NEW.version, NEW.to_state, held.version, held.state
            USING ERRCODE = '23514', CONSTRAINT = 'transition_has_payment_version';
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER transition_fits_payment
    AFTER INSERT ON payments_transition
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION payments_check_transition();
ALTER TABLE payments_transition ENABLE ALWAYS TRIGGER transition_fits_payment;

-- A payment, its tries and its calls are never deleted.
CREATE TRIGGER payment_no_delete BEFORE DELETE ON payments_payment
    FOR EACH ROW EXECUTE FUNCTION payments_refuse_change();
ALTER TABLE payments_payment ENABLE ALWAYS TRIGGER payment_no_delete;
CREATE TRIGGER attempt_no_delete BEFORE DELETE ON payments_attempt
    FOR EACH ROW EXECUTE FUNCTION payments_refuse_change();
ALTER TABLE payments_attempt ENABLE ALWAYS TRIGGER attempt_no_delete;
CREATE TRIGGER operation_no_delete BEFORE DELETE ON payments_provideroperation
    FOR EACH ROW EXECUTE FUNCTION payments_refuse_change();
ALTER TABLE payments_provideroperation ENABLE ALWAYS TRIGGER operation_no_delete;

CREATE TRIGGER attempt_no_truncate BEFORE TRUNCATE ON payments_attempt
    FOR EACH STATEMENT EXECUTE FUNCTION payments_refuse_change();
ALTER TABLE payments_attempt ENABLE ALWAYS TRIGGER attempt_no_truncate;
CREATE TRIGGER operation_no_truncate BEFORE TRUNCATE ON payments_provideroperation
    FOR EACH STATEMENT EXECUTE FUNCTION payments_refuse_change();
ALTER TABLE payments_provideroperation ENABLE ALWAYS TRIGGER operation_no_truncate;

REVOKE UPDATE, DELETE, TRUNCATE ON payments_transition FROM florin_app;
REVOKE DELETE, TRUNCATE ON payments_payment, payments_attempt, payments_provideroperation
    FROM florin_app;
