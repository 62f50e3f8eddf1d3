-- What came after the straight path, guarded: captures, refunds, disputes, cases, and one check of
-- every sum of a payment against its rows and its books, at commit.

-- Payments captured before captures had rows of their own.
INSERT INTO payments_capture (id, payment_id, number, amount_minor, final, state,
                              platform_fee_minor, created_at, finished_at)
SELECT 'cap_' || substr(p.id, 5), p.id, 1, p.amount_captured_minor, true, 'succeeded',
       p.platform_fee_minor, p.captured_at, p.captured_at
  FROM payments_payment p
 WHERE p.amount_captured_minor > 0;

DROP TRIGGER payment_agrees_with_books_when_changed ON payments_payment;
DROP TRIGGER payment_agrees_with_books_when_new ON payments_payment;

CREATE OR REPLACE FUNCTION payments_check_books() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    payment  public.payments_payment;
    merchants_own boolean;
    given_back bigint;
    expected record;
    booked   record;
BEGIN
    -- The row as it will be committed; NEW may be an earlier version of the same transaction.
    SELECT * INTO payment FROM public.payments_payment p WHERE p.id = NEW.id;
    SELECT a.owned_by_merchant INTO merchants_own
      FROM public.payments_provideraccount a WHERE a.id = payment.provider_account_id;

    -- In every account of this payment what has come in and what has gone out again, debits above 0.
    SELECT coalesce(sum(l.debit_minor - l.credit_minor) FILTER (
             WHERE a.code = 'psp:clearing' AND a.owner = payment.provider_account_id), 0)::bigint AS clearing,
           coalesce(sum(l.credit_minor - l.debit_minor) FILTER (
             WHERE a.code = 'platform_fee_income'), 0)::bigint AS earned,
           coalesce(sum(l.debit_minor - l.credit_minor) FILTER (
             WHERE a.code = 'psp_fee_expense'), 0)::bigint AS provider_fee,
           coalesce(sum(l.credit_minor - l.debit_minor) FILTER (
             WHERE a.code = 'psp:refunds_in_transit' AND a.owner = payment.provider_account_id), 0)::bigint
             AS refund_pending,
           coalesce(sum(l.debit_minor - l.credit_minor) FILTER (
             WHERE a.code = 'psp:disputed_funds' AND a.owner = payment.provider_account_id), 0)::bigint
             AS disputed,
           coalesce(sum(l.credit_minor - l.debit_minor) FILTER (
             WHERE a.code = 'merchant:reserve' AND a.owner = payment.merchant_id), 0)::bigint AS reserve,
           coalesce(sum(l.credit_minor - l.debit_minor) FILTER (
             WHERE a.code = 'merchant:pending' AND a.owner = payment.merchant_id), 0)::bigint AS pending,
           coalesce(sum(l.debit_minor - l.credit_minor) FILTER (WHERE NOT (
               (a.owner = payment.provider_account_id AND a.code IN
                 ('psp:clearing', 'psp:refunds_in_transit', 'psp:disputed_funds'))
               OR (a.owner = payment.merchant_id AND a.code IN
                 ('merchant:pending', 'merchant:available', 'merchant:receivable',
                  'merchant:reserve'))
               OR (a.owner = '' AND a.code IN ('platform_fee_income', 'psp_fee_expense'))
             )), 0)::bigint AS strange
      INTO booked
      FROM public.ledger_journal_entry e
      JOIN public.ledger_line l ON l.entry_id = e.id AND l.currency = payment.currency
                                AND NOT l.pending
      JOIN public.ledger_account a ON a.id = l.account_id AND a.livemode = payment.livemode
     WHERE e.source_id = payment.id AND e.source_type = 'payment';

    given_back := payment.amount_refunded_minor + payment.amount_disputed_minor
                + payment.amount_reversed_minor;
    SELECT CASE WHEN merchants_own AND payment.amount_captured_minor > 0
                     AND payment.amount_settled_minor = payment.amount_captured_minor THEN 0
                ELSE payment.amount_captured_minor - given_back - payment.dispute_fee_minor
                     - coalesce(payment.provider_fee_minor, 0) END AS clearing,
           payment.platform_fee_minor AS earned,
           CASE WHEN merchants_own THEN 0 ELSE coalesce(payment.provider_fee_minor, 0) END
             AS provider_fee,
           payment.amount_refund_pending_minor AS refund_pending,
           payment.amount_disputed_minor AS disputed,
           payment.amount_disputed_minor AS reserve,
           CASE WHEN payment.amount_settled_minor = payment.amount_captured_minor THEN 0
                ELSE booked.pending END AS pending,
           0::bigint AS strange
      INTO expected;

    IF booked IS DISTINCT FROM expected THEN
        RAISE EXCEPTION 'payment % and its ledger entries disagree: the payment says %, the books %',
            payment.id, row_to_json(expected), row_to_json(booked)
            USING ERRCODE = '23514', CONSTRAINT = 'payment_agrees_with_books',
                  HINT = 'Book the change with payments.bookkeeping in the same transaction.';
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER payment_agrees_with_books_when_changed
    AFTER UPDATE ON payments_payment
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW
    WHEN (OLD.amount_captured_minor <> NEW.amount_captured_minor
          OR OLD.amount_settled_minor <> NEW.amount_settled_minor
          OR OLD.platform_fee_minor <> NEW.platform_fee_minor
          OR OLD.provider_fee_minor IS DISTINCT FROM NEW.provider_fee_minor
          OR OLD.amount_refund_pending_minor <> NEW.amount_refund_pending_minor
          OR OLD.amount_refunded_minor <> NEW.amount_refunded_minor
          OR OLD.amount_disputed_minor <> NEW.amount_disputed_minor
          OR OLD.amount_reversed_minor <> NEW.amount_reversed_minor
          OR OLD.dispute_fee_minor <> NEW.dispute_fee_minor)
    EXECUTE FUNCTION payments_check_books();
ALTER TABLE payments_payment ENABLE ALWAYS TRIGGER payment_agrees_with_books_when_changed;

CREATE CONSTRAINT TRIGGER payment_agrees_with_books_when_new
    AFTER INSERT ON payments_payment
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW
    WHEN (NEW.amount_captured_minor <> 0 OR NEW.amount_settled_minor <> 0
          OR coalesce(NEW.provider_fee_minor, 0) <> 0 OR NEW.amount_refund_pending_minor <> 0
          OR NEW.amount_refunded_minor <> 0 OR NEW.amount_disputed_minor <> 0
          OR NEW.amount_reversed_minor <> 0 OR NEW.dispute_fee_minor <> 0)
    EXECUTE FUNCTION payments_check_books();
ALTER TABLE payments_payment ENABLE ALWAYS TRIGGER payment_agrees_with_books_when_new;

-- A payment's sums are the sums of its rows, whichever of the two was written.
CREATE FUNCTION payments_compare_sums(which text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
DECLARE
    payment  public.payments_payment;
    captured bigint;
    waiting  bigint;
    refunded bigint;
    disputed bigint;
    lost     bigint;
    fees     bigint;
BEGIN
    SELECT * INTO payment FROM public.payments_payment p WHERE p.id = which;
    SELECT coalesce(sum(c.amount_minor), 0) INTO captured
      FROM public.payments_capture c WHERE c.payment_id = which AND c.state IN ('succeeded', 'failed_late');
    SELECT coalesce(sum(r.amount_minor) FILTER (
             WHERE r.state IN ('requested', 'requires_action', 'pending')), 0),
           coalesce(sum(r.amount_minor) FILTER (WHERE r.state = 'succeeded'), 0)
      INTO waiting, refunded
      FROM public.payments_refund r WHERE r.payment_id = which;
    SELECT coalesce(sum(d.withdrawn_minor), 0), coalesce(sum(d.lost_minor), 0),
           coalesce(sum(d.fee_minor), 0)
      INTO disputed, lost, fees
      FROM public.payments_dispute d WHERE d.payment_id = which;
    IF (captured, waiting, refunded, disputed, fees) IS DISTINCT FROM (
         payment.amount_captured_minor, payment.amount_refund_pending_minor,
         payment.amount_refunded_minor, payment.amount_disputed_minor, payment.dispute_fee_minor)
       OR lost > payment.amount_reversed_minor THEN
        RAISE EXCEPTION 'payment % says captured %, refund pending %, refunded %, disputed %, '
            'reversed %, dispute fees %; its rows say captured %, pending %, refunded %, disputed %, '
            'lost %, fees %', which, payment.amount_captured_minor,
            payment.amount_refund_pending_minor, payment.amount_refunded_minor,
            payment.amount_disputed_minor, payment.amount_reversed_minor, payment.dispute_fee_minor,
            captured, waiting, refunded, disputed, lost, fees
            USING ERRCODE = '23514', CONSTRAINT = 'payment_agrees_with_its_rows';
    END IF;
END $$;

CREATE FUNCTION payments_check_sums_of_payment() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    PERFORM public.payments_compare_sums(NEW.id);
    RETURN NULL;
END $$;

CREATE FUNCTION payments_check_sums_of_part() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    PERFORM public.payments_compare_sums(NEW.payment_id);
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER payment_agrees_with_its_rows
    AFTER UPDATE ON payments_payment
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW
    WHEN (OLD.amount_captured_minor <> NEW.amount_captured_minor
          OR OLD.amount_refund_pending_minor <> NEW.amount_refund_pending_minor
          OR OLD.amount_refunded_minor <> NEW.amount_refunded_minor
          OR OLD.amount_disputed_minor <> NEW.amount_disputed_minor
          OR OLD.amount_reversed_minor <> NEW.amount_reversed_minor
          OR OLD.dispute_fee_minor <> NEW.dispute_fee_minor)
    EXECUTE FUNCTION payments_check_sums_of_payment();
ALTER TABLE payments_payment ENABLE ALWAYS TRIGGER payment_agrees_with_its_rows;

CREATE CONSTRAINT TRIGGER payment_agrees_with_its_rows_when_new
    AFTER INSERT ON payments_payment
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW
    WHEN (NEW.amount_captured_minor <> 0 OR NEW.amount_refund_pending_minor <> 0
          OR NEW.amount_refunded_minor <> 0 OR NEW.amount_disputed_minor <> 0
          OR NEW.dispute_fee_minor <> 0)
    EXECUTE FUNCTION payments_check_sums_of_payment();
ALTER TABLE payments_payment ENABLE ALWAYS TRIGGER payment_agrees_with_its_rows_when_new;

DO $$
DECLARE
    part text;
BEGIN
    FOREACH part IN ARRAY ARRAY['capture', 'refund', 'dispute'] LOOP
        EXECUTE format(
            'CREATE CONSTRAINT TRIGGER %1$s_agrees_with_payment AFTER INSERT OR UPDATE '
            'ON payments_%1$s DEFERRABLE INITIALLY DEFERRED FOR EACH ROW '
            'EXECUTE FUNCTION payments_check_sums_of_part()', part);
        EXECUTE format('ALTER TABLE payments_%1$s ENABLE ALWAYS TRIGGER %1$s_agrees_with_payment',
                       part);
    END LOOP;
END $$;

-- Whose it is and how much never changes.
CREATE FUNCTION payments_guard_capture() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    IF (NEW.id, NEW.payment_id, NEW.number, NEW.amount_minor, NEW.created_at) IS DISTINCT FROM
       (OLD.id, OLD.payment_id, OLD.number, OLD.amount_minor, OLD.created_at) THEN
        RAISE EXCEPTION 'capture %: payment, number and amount never change', OLD.id
            USING ERRCODE = '23514', CONSTRAINT = 'capture_identity_is_fixed';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER capture_guard BEFORE UPDATE ON payments_capture
    FOR EACH ROW EXECUTE FUNCTION payments_guard_capture();
ALTER TABLE payments_capture ENABLE ALWAYS TRIGGER capture_guard;

CREATE FUNCTION payments_guard_refund() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    IF (NEW.id, NEW.payment_id, NEW.provider_account_id, NEW.amount_minor, NEW.currency, NEW.source,
        NEW.platform_fee_returned_minor, NEW.created_at) IS DISTINCT FROM
       (OLD.id, OLD.payment_id, OLD.provider_account_id, OLD.amount_minor, OLD.currency, OLD.source,
        OLD.platform_fee_returned_minor, OLD.created_at)
       OR (OLD.provider_reference <> '' AND NEW.provider_reference <> OLD.provider_reference) THEN
        RAISE EXCEPTION 'refund %: payment, amount, source and reference never change', OLD.id
            USING ERRCODE = '23514', CONSTRAINT = 'refund_identity_is_fixed';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refund_guard BEFORE UPDATE ON payments_refund
    FOR EACH ROW EXECUTE FUNCTION payments_guard_refund();
ALTER TABLE payments_refund ENABLE ALWAYS TRIGGER refund_guard;

CREATE FUNCTION payments_guard_dispute() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
DECLARE
    stages constant text[] := ARRAY['inquiry', 'chargeback', 'pre_arbitration', 'arbitration'];
BEGIN
    IF (NEW.id, NEW.payment_id, NEW.provider_account_id, NEW.provider_reference, NEW.currency,
        NEW.created_at) IS DISTINCT FROM
       (OLD.id, OLD.payment_id, OLD.provider_account_id, OLD.provider_reference, OLD.currency,
        OLD.created_at)
       OR array_position(stages, NEW.stage::text) < array_position(stages, OLD.stage::text) THEN
        RAISE EXCEPTION 'dispute %: what it is about never changes, its stage only moves forward',
            OLD.id USING ERRCODE = '23514', CONSTRAINT = 'dispute_identity_is_fixed';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER dispute_guard BEFORE UPDATE ON payments_dispute
    FOR EACH ROW EXECUTE FUNCTION payments_guard_dispute();
ALTER TABLE payments_dispute ENABLE ALWAYS TRIGGER dispute_guard;

CREATE FUNCTION payments_guard_case() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    IF OLD.resolved_at IS NOT NULL
       OR (NEW.id, NEW.payment_id, NEW.kind, NEW.words, NEW.opened_at) IS DISTINCT FROM
          (OLD.id, OLD.payment_id, OLD.kind, OLD.words, OLD.opened_at) THEN
        RAISE EXCEPTION 'case %: what was found never changes, and a decision is taken once', OLD.id
            USING ERRCODE = '23514', CONSTRAINT = 'case_is_decided_once';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER case_guard BEFORE UPDATE ON payments_reviewcase
    FOR EACH ROW EXECUTE FUNCTION payments_guard_case();
ALTER TABLE payments_reviewcase ENABLE ALWAYS TRIGGER case_guard;

-- A payment in review, and one that gave back more than it had, has a case that tells a person.
CREATE FUNCTION payments_check_case() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
DECLARE
    payment public.payments_payment;
BEGIN
    SELECT * INTO payment FROM public.payments_payment p WHERE p.id = NEW.id;
    IF payment.state = 'in_review' AND NOT EXISTS (
         SELECT FROM public.payments_reviewcase c
          WHERE c.payment_id = payment.id AND c.resolved_at IS NULL) THEN
        RAISE EXCEPTION 'payment % is in review without an open case', payment.id
            USING ERRCODE = '23514', CONSTRAINT = 'payment_in_review_has_case';
    END IF;
    IF payment.double_loss_minor > 0 AND NOT EXISTS (
         SELECT FROM public.payments_reviewcase c
          WHERE c.payment_id = payment.id AND c.kind = 'double_loss') THEN
        RAISE EXCEPTION 'payment % gave back more than was captured, and no case says so', payment.id
            USING ERRCODE = '23514', CONSTRAINT = 'payment_double_loss_has_case';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER payment_has_its_case
    AFTER UPDATE ON payments_payment
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW
    WHEN (NEW.state = 'in_review' OR NEW.double_loss_minor > 0)
    EXECUTE FUNCTION payments_check_case();
ALTER TABLE payments_payment ENABLE ALWAYS TRIGGER payment_has_its_case;

-- None of these rows is ever deleted.
DO $$
DECLARE
    part text;
BEGIN
    FOREACH part IN ARRAY ARRAY['capture', 'refund', 'dispute', 'evidencefile', 'reviewcase'] LOOP
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

-- Whose account it is decides how its payments are booked.
CREATE FUNCTION payments_guard_account() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public AS $$
BEGIN
    IF (NEW.provider, NEW.merchant_id, NEW.livemode, NEW.owned_by_merchant) IS DISTINCT FROM
       (OLD.provider, OLD.merchant_id, OLD.livemode, OLD.owned_by_merchant) THEN
        RAISE EXCEPTION 'provider account %: provider, merchant, mode and owner never change', OLD.id
            USING ERRCODE = '23514', CONSTRAINT = 'provider_account_identity_is_fixed';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER account_guard BEFORE UPDATE ON payments_provideraccount
    FOR EACH ROW EXECUTE FUNCTION payments_guard_account();
ALTER TABLE payments_provideraccount ENABLE ALWAYS TRIGGER account_guard;
