-- A payment's money and its ledger entries are committed together or not at all.
--
-- Code that says "captured" and forgets to book it, or books another amount, another currency or
-- another merchant, fails at its own commit instead of being found weeks later. The check runs at
-- commit and only where a sum has changed: one look into the index of entries by source.

CREATE FUNCTION payments_check_books() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    payment  public.payments_payment;
    captured bigint;
    earned   bigint;
    released bigint;
    fee      bigint;
BEGIN
    -- The row as it will be committed; NEW may be an earlier version of the same transaction.
    SELECT * INTO payment FROM public.payments_payment p WHERE p.id = NEW.id;

    SELECT coalesce(sum(l.debit_minor) FILTER (WHERE e.kind = 'payment.captured'
             AND a.code = 'psp:clearing' AND a.owner = payment.provider_account_id), 0),
           coalesce(sum(l.credit_minor) FILTER (WHERE e.kind = 'payment.captured'
             AND a.code = 'platform_fee_income'), 0),
           coalesce(sum(l.credit_minor) FILTER (WHERE e.kind = 'payment.settled'
             AND a.code = 'merchant:available' AND a.owner = payment.merchant_id), 0),
           coalesce(sum(l.debit_minor) FILTER (WHERE e.kind = 'payment.provider_fee'
             AND a.code = 'psp_fee_expense'), 0)
      INTO captured, earned, released, fee
      FROM public.ledger_journal_entry e
      JOIN public.ledger_line l ON l.entry_id = e.id AND l.currency = payment.currency
      JOIN public.ledger_account a ON a.id = l.account_id AND a.livemode = payment.livemode
     WHERE e.source_id = payment.id AND e.source_type = 'payment'
       AND e.kind IN ('payment.captured', 'payment.settled', 'payment.provider_fee');

    IF (captured, earned, released, fee) IS DISTINCT FROM (
         payment.amount_captured_minor,
         CASE WHEN payment.amount_captured_minor > 0 THEN payment.platform_fee_minor ELSE 0 END,
         CASE WHEN payment.amount_settled_minor > 0
              THEN payment.amount_settled_minor - payment.platform_fee_minor ELSE 0 END,
         coalesce(payment.provider_fee_minor, 0))
    THEN
        RAISE EXCEPTION 'payment % says captured %, platform fee %, settled %, provider fee %; '
            'its ledger entries say captured %, platform fee %, released to the merchant %, '
            'provider fee %', payment.id, payment.amount_captured_minor,
            payment.platform_fee_minor, payment.amount_settled_minor,
            coalesce(payment.provider_fee_minor, 0), captured, earned, released, fee
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
          OR OLD.provider_fee_minor IS DISTINCT FROM NEW.provider_fee_minor)
    EXECUTE FUNCTION payments_check_books();
ALTER TABLE payments_payment ENABLE ALWAYS TRIGGER payment_agrees_with_books_when_changed;

CREATE CONSTRAINT TRIGGER payment_agrees_with_books_when_new
    AFTER INSERT ON payments_payment
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW
    WHEN (NEW.amount_captured_minor <> 0 OR NEW.amount_settled_minor <> 0
          OR coalesce(NEW.provider_fee_minor, 0) <> 0)
    EXECUTE FUNCTION payments_check_books();
ALTER TABLE payments_payment ENABLE ALWAYS TRIGGER payment_agrees_with_books_when_new;
