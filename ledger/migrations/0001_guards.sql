-- What keeps the books true, whoever writes: triggers that are ENABLE ALWAYS, so they also run for
-- the owner of the tables and in replica mode, where PostgreSQL leaves foreign keys unchecked.
-- For that reason each foreign key's promise is judged here a second time.
--
-- The judging runs in a statement trigger over all lines of one INSERT, so that one check serves
-- any number of entries; the price is that an entry's lines must arrive in one statement.
--
-- Planner settings are pinned on each function: a plan that was cached while the tables were small
-- must not turn into sequential scans when they have grown.

CREATE FUNCTION ledger_refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION '% on % is refused: the ledger is append-only, correct it with a further entry',
    TG_OP, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;

-- Accounts ---------------------------------------------------------------------------------------

CREATE FUNCTION ledger_account_open_balance() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO public.ledger_balance (account_id, stripe)
  SELECT NEW.id, stripe FROM generate_series(0, NEW.stripes - 1) AS stripe;
  RETURN NULL;
END $$;

-- An account may change its metadata, and may be closed, once, when nothing stands on it.
-- Closing locks the balance rows before it looks: a posting under way is waited for, and one that
-- comes later finds the rows closed.
CREATE FUNCTION ledger_account_guard_update() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  remainder record;
BEGIN
  IF (to_jsonb(NEW) - 'closed_at' - 'metadata' - 'normal_side')
     <> (to_jsonb(OLD) - 'closed_at' - 'metadata' - 'normal_side')
     OR (OLD.closed_at IS NOT NULL AND NEW.closed_at IS DISTINCT FROM OLD.closed_at) THEN
    RAISE EXCEPTION 'Account % (%) cannot be changed: only its metadata, and closed_at once',
      OLD.id, OLD.code USING ERRCODE = 'insufficient_privilege';
  END IF;
  IF OLD.closed_at IS NULL AND NEW.closed_at IS NOT NULL THEN
    UPDATE public.ledger_balance SET closed = true WHERE account_id = OLD.id;
    SELECT sum(posted_debit_minor) - sum(posted_credit_minor) AS posted,
           sum(pending_debit_minor - released_debit_minor)
             + sum(pending_credit_minor - released_credit_minor) AS held
      INTO remainder FROM public.ledger_balance WHERE account_id = OLD.id;
    IF remainder.posted <> 0 OR remainder.held <> 0 THEN
      RAISE EXCEPTION 'Account % (%) cannot be closed: % % stands on it and % is held', OLD.id,
        OLD.code, abs(remainder.posted), OLD.currency, remainder.held
        USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_account_empty_when_closed';
    END IF;
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER ledger_account_open_balance AFTER INSERT ON ledger_account
  FOR EACH ROW EXECUTE FUNCTION ledger_account_open_balance();
CREATE TRIGGER ledger_account_guard_update BEFORE UPDATE ON ledger_account
  FOR EACH ROW EXECUTE FUNCTION ledger_account_guard_update();
CREATE TRIGGER ledger_account_no_delete BEFORE DELETE ON ledger_account
  FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_account_no_truncate BEFORE TRUNCATE ON ledger_account
  FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();

-- Balances ---------------------------------------------------------------------------------------

CREATE FUNCTION ledger_balance_refuse_write() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION '% on ledger_balance is refused: balances follow from lines', TG_OP
    USING ERRCODE = 'insufficient_privilege';
END $$;

-- Depth 0 is a statement that somebody wrote; a statement of one of our triggers is deeper.
CREATE TRIGGER ledger_balance_only_by_trigger BEFORE INSERT OR UPDATE ON ledger_balance
  FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION ledger_balance_refuse_write();
CREATE TRIGGER ledger_balance_no_delete BEFORE DELETE ON ledger_balance
  FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_balance_no_truncate BEFORE TRUNCATE ON ledger_balance
  FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();

-- Journal entries --------------------------------------------------------------------------------

CREATE FUNCTION ledger_journal_entry_refuse_forged() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'recorded_at and xid of a journal entry are the database''s own: leave them out'
    USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE FUNCTION ledger_journal_entry_check_complete() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM public.ledger_line
                  WHERE entry_id = NEW.id AND line_number = NEW.line_count) THEN
    RAISE EXCEPTION 'Journal entry % has no line %: header and lines are committed together',
      NEW.id, NEW.line_count
      USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_journal_entry_complete';
  END IF;
  RETURN NULL;
END $$;

CREATE TRIGGER ledger_journal_entry_genuine BEFORE INSERT ON ledger_journal_entry
  FOR EACH ROW
  WHEN (NEW.xid IS DISTINCT FROM pg_current_xact_id()::text::bigint
        OR NEW.recorded_at < transaction_timestamp() OR NEW.recorded_at > clock_timestamp())
  EXECUTE FUNCTION ledger_journal_entry_refuse_forged();
CREATE TRIGGER ledger_journal_entry_no_change BEFORE UPDATE OR DELETE ON ledger_journal_entry
  FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_journal_entry_no_truncate BEFORE TRUNCATE ON ledger_journal_entry
  FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();
-- The foreign key to the last line does this everywhere but in replica mode, where it is not queued.
CREATE CONSTRAINT TRIGGER ledger_journal_entry_complete AFTER INSERT ON ledger_journal_entry
  DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW WHEN (current_setting('session_replication_role') = 'replica')
  EXECUTE FUNCTION ledger_journal_entry_check_complete();

-- Lines ------------------------------------------------------------------------------------------

-- Judges entries exactly and names the first thing that is wrong with them. The argument has each
-- entry's id once per line that arrived.
CREATE FUNCTION ledger_judge_lines(entries bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  problem record;
BEGIN
  SELECT l.entry_id, l.currency, l.pending, sum(l.debit_minor) AS debit, sum(l.credit_minor) AS credit
    INTO problem FROM public.ledger_line l WHERE l.entry_id = ANY (entries)
   GROUP BY l.entry_id, l.currency, l.pending HAVING sum(l.debit_minor) <> sum(l.credit_minor)
   ORDER BY l.entry_id, l.currency, l.pending LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'Journal entry % does not balance in % (% layer): debits % and credits %',
      problem.entry_id, problem.currency, CASE WHEN problem.pending THEN 'pending' ELSE 'posted' END,
      problem.debit, problem.credit
      USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_line_balanced';
  END IF;
  SELECT l.entry_id, l.line_number, l.currency, e.livemode, l.account_id,
         a.currency AS account_currency, a.livemode AS account_livemode
    INTO problem FROM public.ledger_line l
    LEFT JOIN public.ledger_journal_entry e ON e.id = l.entry_id
    LEFT JOIN public.ledger_account a ON a.id = l.account_id
   WHERE l.entry_id = ANY (entries)
     AND (e.id IS NULL OR a.id IS NULL OR a.currency <> l.currency OR a.livemode <> e.livemode)
   ORDER BY l.entry_id, l.line_number LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'Line % of journal entry % (% live: %) does not fit account % (% live: %)',
      problem.line_number, problem.entry_id, problem.currency, problem.livemode,
      problem.account_id, problem.account_currency, problem.account_livemode
      USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_line_fits_account';
  END IF;
  SELECT e.id, e.line_count INTO problem FROM public.ledger_journal_entry e
   WHERE e.id = ANY (entries)
     AND (cardinality(array_positions(entries, e.id)) <> e.line_count
          OR (SELECT max(l.line_number) FROM public.ledger_line l WHERE l.entry_id = e.id)
             <> e.line_count)
   ORDER BY e.id LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'Lines of journal entry % must be inserted together, numbered from 1 to %',
      problem.id, problem.line_count
      USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_line_complete';
  END IF;
  PERFORM public.ledger_judge_links(entries);
END $$;

-- A reversal mirrors its whole entry; a resolution mirrors exactly what its entry holds.
-- Neither may be half a promise: what is linked is either undone or it is not.
CREATE FUNCTION ledger_judge_links(entries bigint[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  problem record;
BEGIN
  SELECT e.id, coalesce(e.reverses, e.resolves) AS target_id, e.resolves IS NOT NULL AS resolving
    INTO problem
    FROM public.ledger_journal_entry e
    LEFT JOIN public.ledger_journal_entry t ON t.id = coalesce(e.reverses, e.resolves)
   CROSS JOIN LATERAL (
     SELECT bool_or(l.pending) FILTER (WHERE l.entry_id = t.id) AS target_holds,
            bool_or(l.pending) AS any_pending
       FROM public.ledger_line l WHERE l.entry_id IN (e.id, t.id)) AS layers
   WHERE e.id = ANY (entries) AND (e.reverses IS NOT NULL OR e.resolves IS NOT NULL)
     AND (t.id IS NULL
          OR (e.reverses IS NOT NULL AND layers.any_pending)
          OR (e.resolves IS NOT NULL AND (t.resolves IS NOT NULL OR NOT layers.target_holds))
          OR EXISTS (
            SELECT FROM public.ledger_line l
             WHERE l.entry_id IN (e.id, t.id) AND (e.reverses IS NOT NULL OR l.pending)
             GROUP BY l.account_id
            HAVING coalesce(sum(l.debit_minor) FILTER (WHERE l.entry_id = e.id), 0)
                     <> coalesce(sum(l.credit_minor) FILTER (WHERE l.entry_id = t.id), 0)
                OR coalesce(sum(l.credit_minor) FILTER (WHERE l.entry_id = e.id), 0)
                     <> coalesce(sum(l.debit_minor) FILTER (WHERE l.entry_id = t.id), 0)))
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'Journal entry % cannot % entry %: %', problem.id,
      CASE WHEN problem.resolving THEN 'resolve' ELSE 'reverse' END, problem.target_id,
      CASE WHEN problem.resolving
        THEN 'its pending lines must mirror all that the other holds, and the other must hold some'
        ELSE 'its lines must mirror all lines of the other, and neither may have pending ones' END
      USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_journal_entry_mirrors';
  END IF;
END $$;

-- Says why a balance row took no movement; only called when it did not.
CREATE FUNCTION ledger_explain_movement(refused_account_id bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  account public.ledger_account;
BEGIN
  SELECT * INTO account FROM public.ledger_account WHERE id = refused_account_id;
  IF account.closed_at IS NOT NULL THEN
    RAISE EXCEPTION 'Account % (%, %, %) is closed since %', account.id, account.code,
      account.owner, account.currency, account.closed_at
      USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_account_open';
  END IF;
  IF NOT EXISTS (SELECT FROM public.ledger_balance WHERE account_id = refused_account_id) THEN
    RAISE EXCEPTION 'Bug! Account % has no balance row', refused_account_id
      USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_balance_present';
  END IF;
  RAISE EXCEPTION 'Account % (%, %, %) cannot count that far: a total would pass 9223372036854775807',
    account.id, account.code, account.owner, account.currency
    USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_balance_range';
END $$;

-- Refuses an entry that leaves less than the floor available, if it is one of those that may be
-- refused and it is what lowered the balance. Money on hold is not available.
CREATE FUNCTION ledger_judge_floor(floored_account_id bigint, judged_entry_id bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  account   public.ledger_account;
  available numeric;
  change    numeric;
BEGIN
  IF NOT (SELECT e.enforces_floors FROM public.ledger_journal_entry e WHERE e.id = judged_entry_id) THEN
    RETURN;
  END IF;
  SELECT * INTO account FROM public.ledger_account a WHERE a.id = floored_account_id;
  -- A resolving line releases a hold of the other side.
  SELECT sum(CASE WHEN account.normal_side = 'debit' THEN amount.debit ELSE amount.credit END
             - CASE WHEN account.normal_side = 'debit' THEN amount.credit ELSE amount.debit END)
    INTO change
    FROM public.ledger_line l JOIN public.ledger_journal_entry e ON e.id = l.entry_id
   CROSS JOIN LATERAL (
     SELECT CASE WHEN NOT l.pending THEN l.debit_minor::numeric
                 WHEN account.normal_side = 'credit' AND e.resolves IS NULL THEN l.debit_minor
                 WHEN account.normal_side = 'debit' AND e.resolves IS NOT NULL THEN l.debit_minor
                 ELSE 0 END AS debit,
            CASE WHEN NOT l.pending THEN l.credit_minor::numeric
                 WHEN account.normal_side = 'debit' AND e.resolves IS NULL THEN l.credit_minor
                 WHEN account.normal_side = 'credit' AND e.resolves IS NOT NULL THEN l.credit_minor
                 ELSE 0 END AS credit) AS amount
   WHERE l.entry_id = judged_entry_id AND l.account_id = floored_account_id;
  SELECT CASE WHEN account.normal_side = 'debit'
           THEN b.posted_debit_minor::numeric - b.posted_credit_minor
                - (b.pending_credit_minor - b.released_credit_minor)
           ELSE b.posted_credit_minor::numeric - b.posted_debit_minor
                - (b.pending_debit_minor - b.released_debit_minor) END
    INTO available FROM public.ledger_balance b
   WHERE b.account_id = floored_account_id AND b.stripe = 0;
  IF change < 0 AND available < account.floor_minor THEN
    RAISE EXCEPTION 'Account % (%, %) would be left with % % available, its floor is %', account.id,
      account.code, account.owner, available, account.currency, account.floor_minor
      USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_account_floor',
            DETAIL = jsonb_build_object('account_id', account.id, 'available_minor', available,
                       'floor_minor', account.floor_minor)::text;
  END IF;
END $$;

CREATE FUNCTION ledger_line_judge_and_count() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  largest  CONSTANT bigint := 9223372036854775807;
  movement record;
  held     record;
BEGIN
  -- One pass tells the plain entry apart: complete, in one currency and one layer, balanced, linked
  -- to no other. Line numbers are unique by primary key, so n lines up to n are all of them.
  PERFORM FROM new_lines n
     LEFT JOIN public.ledger_journal_entry e ON e.id = n.entry_id
     LEFT JOIN public.ledger_account a ON a.id = n.account_id
    GROUP BY n.entry_id, e.line_count
   HAVING (count(*) = e.line_count AND max(n.line_number) = e.line_count
           AND sum(n.debit_minor - n.credit_minor) = 0 AND min(n.currency) = max(n.currency)
           AND bool_and((a.currency = n.currency AND a.livemode = e.livemode AND NOT n.pending
                         AND e.reverses IS NULL AND e.resolves IS NULL) IS TRUE)) IS NOT TRUE;
  IF FOUND THEN
    PERFORM public.ledger_judge_lines(ARRAY(SELECT n.entry_id FROM new_lines n));
  END IF;

  -- Rows are locked by the update itself, always in the order (account, stripe). A floored account
  -- moves entry by entry, so that each entry answers for its own effect. A sum too large for a
  -- bigint becomes NULL here, which no row accepts.
  FOR movement IN
    SELECT a.id AS account_id, a.floor_minor,
           CASE WHEN a.stripes = 1 OR n.pending THEN 0
                ELSE pg_backend_pid() % a.stripes END AS stripe,
           CASE WHEN a.floor_minor IS NOT NULL THEN n.entry_id END AS floored_entry_id,
           count(*) AS line_count, bool_or(n.pending) AS holds,
           sum(CASE WHEN n.pending THEN 0 ELSE n.debit_minor END) AS debit,
           sum(CASE WHEN n.pending THEN 0 ELSE n.credit_minor END) AS credit
      FROM new_lines n JOIN public.ledger_account a ON a.id = n.account_id
     GROUP BY a.id, stripe, floored_entry_id
     ORDER BY a.id, stripe, floored_entry_id
  LOOP
    IF movement.holds THEN
      SELECT sum(n.debit_minor) FILTER (WHERE e.resolves IS NULL) AS pending_debit,
             sum(n.credit_minor) FILTER (WHERE e.resolves IS NULL) AS pending_credit,
             sum(n.credit_minor) FILTER (WHERE e.resolves IS NOT NULL) AS released_debit,
             sum(n.debit_minor) FILTER (WHERE e.resolves IS NOT NULL) AS released_credit
        INTO held
        FROM new_lines n JOIN public.ledger_journal_entry e ON e.id = n.entry_id
       WHERE n.account_id = movement.account_id AND n.pending
         AND n.entry_id = coalesce(movement.floored_entry_id, n.entry_id);
      UPDATE public.ledger_balance b
         SET pending_debit_minor   = b.pending_debit_minor + coalesce(held.pending_debit, 0),
             pending_credit_minor  = b.pending_credit_minor + coalesce(held.pending_credit, 0),
             released_debit_minor  = b.released_debit_minor + coalesce(held.released_debit, 0),
             released_credit_minor = b.released_credit_minor + coalesce(held.released_credit, 0)
       WHERE b.account_id = movement.account_id AND b.stripe = 0
         AND b.pending_debit_minor + coalesce(held.pending_debit, 0) <= largest
         AND b.pending_credit_minor + coalesce(held.pending_credit, 0) <= largest;
      IF NOT FOUND THEN
        PERFORM public.ledger_explain_movement(movement.account_id);
      END IF;
    END IF;
    UPDATE public.ledger_balance b
       SET posted_debit_minor  = b.posted_debit_minor + movement.debit,
           posted_credit_minor = b.posted_credit_minor + movement.credit,
           line_count          = b.line_count + movement.line_count
     WHERE b.account_id = movement.account_id AND b.stripe = movement.stripe AND NOT b.closed
       AND b.posted_debit_minor + movement.debit <= largest
       AND b.posted_credit_minor + movement.credit <= largest;
    IF NOT FOUND THEN
      PERFORM public.ledger_explain_movement(movement.account_id);
    END IF;
    IF movement.floor_minor IS NOT NULL THEN
      PERFORM public.ledger_judge_floor(movement.account_id, movement.floored_entry_id);
    END IF;
  END LOOP;
  RETURN NULL;
END $$;

CREATE TRIGGER ledger_line_judge_and_count AFTER INSERT ON ledger_line
  REFERENCING NEW TABLE AS new_lines
  FOR EACH STATEMENT EXECUTE FUNCTION ledger_line_judge_and_count();
CREATE TRIGGER ledger_line_no_change BEFORE UPDATE OR DELETE ON ledger_line
  FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change();
CREATE TRIGGER ledger_line_no_truncate BEFORE TRUNCATE ON ledger_line
  FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change();

ALTER TABLE ledger_account ENABLE ALWAYS TRIGGER ledger_account_open_balance;
ALTER TABLE ledger_account ENABLE ALWAYS TRIGGER ledger_account_guard_update;
ALTER TABLE ledger_account ENABLE ALWAYS TRIGGER ledger_account_no_delete;
ALTER TABLE ledger_account ENABLE ALWAYS TRIGGER ledger_account_no_truncate;
ALTER TABLE ledger_balance ENABLE ALWAYS TRIGGER ledger_balance_only_by_trigger;
ALTER TABLE ledger_balance ENABLE ALWAYS TRIGGER ledger_balance_no_delete;
ALTER TABLE ledger_balance ENABLE ALWAYS TRIGGER ledger_balance_no_truncate;
ALTER TABLE ledger_journal_entry ENABLE ALWAYS TRIGGER ledger_journal_entry_genuine;
ALTER TABLE ledger_journal_entry ENABLE ALWAYS TRIGGER ledger_journal_entry_no_change;
ALTER TABLE ledger_journal_entry ENABLE ALWAYS TRIGGER ledger_journal_entry_no_truncate;
ALTER TABLE ledger_journal_entry ENABLE ALWAYS TRIGGER ledger_journal_entry_complete;
ALTER TABLE ledger_line ENABLE ALWAYS TRIGGER ledger_line_judge_and_count;
ALTER TABLE ledger_line ENABLE ALWAYS TRIGGER ledger_line_no_change;
ALTER TABLE ledger_line ENABLE ALWAYS TRIGGER ledger_line_no_truncate;
