-- What no code path may do to customers, saved payment methods and mandates.

-- A payment's customer is of its own merchant and mode, and never changes.
CREATE FUNCTION payments_guard_payers() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NEW.customer_id IS DISTINCT FROM OLD.customer_id THEN
            RAISE EXCEPTION 'payment %: its customer never changes', OLD.id
                USING ERRCODE = '23514', CONSTRAINT = 'payment_customer_is_fixed';
        END IF;
    ELSIF NOT EXISTS (
            SELECT FROM public.payments_customer c
             WHERE c.id = NEW.customer_id AND c.merchant_id = NEW.merchant_id
               AND c.livemode = NEW.livemode AND c.deleted_at IS NULL) THEN
        RAISE EXCEPTION 'payment %: customer % is not one of its merchant and mode',
            NEW.id, NEW.customer_id
            USING ERRCODE = '23514', CONSTRAINT = 'payment_customer_is_own';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER payment_customer_is_own BEFORE INSERT ON payments_payment
    FOR EACH ROW WHEN (NEW.customer_id IS NOT NULL) EXECUTE FUNCTION payments_guard_payers();
ALTER TABLE payments_payment ENABLE ALWAYS TRIGGER payment_customer_is_own;
CREATE TRIGGER payment_customer_is_fixed BEFORE UPDATE OF customer_id ON payments_payment
    FOR EACH ROW EXECUTE FUNCTION payments_guard_payers();
ALTER TABLE payments_payment ENABLE ALWAYS TRIGGER payment_customer_is_fixed;

CREATE FUNCTION payments_guard_customer() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    IF (NEW.id, NEW.merchant_id, NEW.livemode, NEW.created_at) IS DISTINCT FROM
       (OLD.id, OLD.merchant_id, OLD.livemode, OLD.created_at)
       OR (OLD.deleted_at IS NOT NULL AND NEW IS DISTINCT FROM OLD) THEN
        RAISE EXCEPTION 'customer %: merchant and mode never change, nor does a deleted one', OLD.id
            USING ERRCODE = '23514', CONSTRAINT = 'customer_identity_is_fixed';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER customer_guard BEFORE UPDATE ON payments_customer
    FOR EACH ROW EXECUTE FUNCTION payments_guard_customer();
ALTER TABLE payments_customer ENABLE ALWAYS TRIGGER customer_guard;

-- A method is kept at an account that its customer's merchant may use, in the same mode. Whose it
-- is and the PSP's names for it never change; its state moves along the edges of METHOD_EDGES.
CREATE FUNCTION payments_guard_method() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'pending' OR NOT EXISTS (
                SELECT FROM public.payments_customer c
                  JOIN public.payments_provideraccount a ON a.id = NEW.provider_account_id
                 WHERE c.id = NEW.customer_id AND c.deleted_at IS NULL
                   AND c.livemode = a.livemode
                   AND (a.merchant_id IS NULL OR a.merchant_id = c.merchant_id)) THEN
            RAISE EXCEPTION 'payment method %: it begins pending, at an account of its customer''s '
                'merchant and mode', NEW.id
                USING ERRCODE = '23514', CONSTRAINT = 'payment_method_is_own';
        END IF;
        RETURN NEW;
    END IF;
    IF (NEW.id, NEW.customer_id, NEW.provider_account_id, NEW.created_at) IS DISTINCT FROM
       (OLD.id, OLD.customer_id, OLD.provider_account_id, OLD.created_at)
       OR (OLD.provider_reference <> '' AND (NEW.provider_reference, NEW.customer_reference)
           IS DISTINCT FROM (OLD.provider_reference, OLD.customer_reference)) THEN
        RAISE EXCEPTION 'payment method %: customer, account and reference never change', OLD.id
            USING ERRCODE = '23514', CONSTRAINT = 'payment_method_identity_is_fixed';
    END IF;
    IF NEW.state <> OLD.state AND (OLD.state || '>' || NEW.state) NOT IN
       ('pending>active', 'pending>failed', 'active>removed') THEN
        RAISE EXCEPTION 'payment method %: from % there is no edge to %', OLD.id, OLD.state, NEW.state
            USING ERRCODE = '23514', CONSTRAINT = 'payment_method_takes_its_edges';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER payment_method_guard BEFORE INSERT OR UPDATE ON payments_paymentmethod
    FOR EACH ROW EXECUTE FUNCTION payments_guard_method();
ALTER TABLE payments_paymentmethod ENABLE ALWAYS TRIGGER payment_method_guard;

-- Leave once revoked is not given again: that takes a new mandate.
CREATE FUNCTION payments_guard_mandate() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    IF (NEW.id, NEW.method_id, NEW.accepted_at, NEW.created_at) IS DISTINCT FROM
       (OLD.id, OLD.method_id, OLD.accepted_at, OLD.created_at)
       OR (OLD.status = 'revoked' AND NEW.status <> 'revoked') THEN
        RAISE EXCEPTION 'mandate %: what it is about never changes, and a revoked one stays so',
            OLD.id USING ERRCODE = '23514', CONSTRAINT = 'mandate_identity_is_fixed';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER mandate_guard BEFORE UPDATE ON payments_mandate
    FOR EACH ROW EXECUTE FUNCTION payments_guard_mandate();
ALTER TABLE payments_mandate ENABLE ALWAYS TRIGGER mandate_guard;

-- None of these rows is ever deleted; erasing a customer empties the row.
DO $$
DECLARE
    part text;
BEGIN
    FOREACH part IN ARRAY
        ARRAY['customer', 'customerreference', 'paymentmethod', 'mandate', 'methodoperation']
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
