-- The application's way in. It may call these two functions and read the tables, nothing else: the
-- functions run with the owner's rights, and the guards judge what they write like anybody's.

-- Opens what is missing and returns one id per given account, in the given order.
-- accounts: [{"code", "owner", "currency", "livemode", "kind", "stripes", "floor_minor"}, ...];
-- owner, stripes and floor_minor may be left out: '', 1 and none.
CREATE FUNCTION ledger_open_accounts(accounts jsonb) RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  wanted  record;
  account public.ledger_account;
  ids     bigint[] := '{}';
BEGIN
  -- One order for everybody, so that two callers opening the same accounts cannot deadlock.
  INSERT INTO public.ledger_account (code, owner, currency, livemode, kind, stripes, floor_minor)
  SELECT w.code, coalesce(w.owner, ''), w.currency, w.livemode, w.kind, coalesce(w.stripes, 1),
         w.floor_minor
    FROM jsonb_to_recordset(accounts) AS w(code text, owner text, currency text, livemode boolean,
                                           kind text, stripes smallint, floor_minor bigint)
   WHERE NOT EXISTS (SELECT FROM public.ledger_account a
                      WHERE (a.owner, a.code, a.currency, a.livemode)
                            = (coalesce(w.owner, ''), w.code, w.currency, w.livemode))
   ORDER BY w.owner, w.code, w.currency, w.livemode
  ON CONFLICT ON CONSTRAINT ledger_account_name DO NOTHING;

  FOR wanted IN
    SELECT * FROM jsonb_to_recordset(accounts) AS w(code text, owner text, currency text,
                                                    livemode boolean, kind text, floor_minor bigint)
  LOOP
    SELECT * INTO account FROM public.ledger_account a
     WHERE (a.owner, a.code, a.currency, a.livemode)
           = (coalesce(wanted.owner, ''), wanted.code, wanted.currency, wanted.livemode);
    IF NOT FOUND THEN
      RAISE EXCEPTION 'Account % was opened meanwhile and is not visible to this snapshot: try again',
        wanted.code USING ERRCODE = 'serialization_failure';
    END IF;
    IF account.kind <> wanted.kind OR account.floor_minor IS DISTINCT FROM wanted.floor_minor THEN
      RAISE EXCEPTION 'Account % (%, %) was opened as % with floor %, not as % with floor %',
        account.id, account.code, account.owner, account.kind,
        coalesce(account.floor_minor::text, 'none'), wanted.kind,
        coalesce(wanted.floor_minor::text, 'none')
        USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_account_as_opened';
    END IF;
    ids := ids || account.id;
  END LOOP;
  RETURN ids;
END $$;

-- The stored entry of a posting whose key was known already. The same money is answered with it,
-- anything else is refused. Times, words and metadata are not compared: a retry may word the same
-- fact anew, and the first telling stands.
CREATE FUNCTION ledger_known_entry(posting jsonb) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  stored public.ledger_journal_entry;
BEGIN
  SELECT * INTO stored FROM public.ledger_journal_entry e
   WHERE e.idempotency_key = posting ->> 'idempotency_key';
  IF NOT FOUND THEN
    RAISE EXCEPTION 'Entry % was posted meanwhile and is not visible to this snapshot: try again',
      posting ->> 'idempotency_key' USING ERRCODE = 'serialization_failure';
  END IF;
  IF (stored.kind, stored.livemode, stored.source_type, stored.source_id, stored.enforces_floors,
      stored.reverses, stored.resolves)
     IS DISTINCT FROM
     (posting ->> 'kind', (posting ->> 'livemode')::boolean, posting ->> 'source_type',
      posting ->> 'source_id', (posting ->> 'enforces_floors')::boolean,
      (posting ->> 'reverses')::bigint, (posting ->> 'resolves')::bigint)
     OR EXISTS (
       SELECT FROM (
         SELECT a.owner, a.code, l.currency, l.debit_minor, l.credit_minor, l.pending, 1 AS side
           FROM public.ledger_line l JOIN public.ledger_account a ON a.id = l.account_id
          WHERE l.entry_id = stored.id
         UNION ALL
         SELECT coalesce(w.owner, ''), w.code, w.currency, coalesce(w.debit_minor, 0),
                coalesce(w.credit_minor, 0), coalesce(w.pending, false), -1
           FROM jsonb_to_recordset(posting -> 'lines') AS w(owner text, code text, currency text,
                  debit_minor bigint, credit_minor bigint, pending boolean)) AS line
        GROUP BY owner, code, currency, debit_minor, credit_minor, pending HAVING sum(side) <> 0)
  THEN
    RAISE EXCEPTION 'Idempotency key % belongs to journal entry %, which says something else',
      stored.idempotency_key, stored.id
      USING ERRCODE = 'unique_violation', CONSTRAINT = 'ledger_journal_entry_same_content';
  END IF;
  RETURN stored.id;
END $$;

-- Posts one entry whose accounts all exist; NULL when one does not, negative when it was known.
-- This is the usual case: plain statements start faster than the one below that serves every case.
-- Runs inside ledger_post alone, and with its settings.
CREATE FUNCTION ledger_post_one(posting jsonb) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  account_ids bigint[];
  new_id      bigint;
BEGIN
  account_ids := ARRAY(
    SELECT (SELECT a.id FROM public.ledger_account a
             WHERE a.owner = coalesce(l.owner, '') AND a.code = l.code
               AND a.currency = l.currency AND a.livemode = (posting -> 'livemode')::boolean
               AND a.kind = l.kind AND a.floor_minor IS NOT DISTINCT FROM l.floor_minor)
      FROM ROWS FROM (jsonb_to_recordset(posting -> 'lines') AS (
             code text, owner text, currency text, kind text, floor_minor bigint))
           WITH ORDINALITY AS l(code, owner, currency, kind, floor_minor, line_number)
     ORDER BY l.line_number);
  IF array_position(account_ids, NULL) IS NOT NULL THEN
    RETURN NULL;
  END IF;
  INSERT INTO public.ledger_journal_entry
         (idempotency_key, kind, livemode, line_count, source_type, source_id, description,
          enforces_floors, effective_at, reverses, resolves, metadata)
  VALUES (posting ->> 'idempotency_key', posting ->> 'kind', (posting -> 'livemode')::boolean,
          jsonb_array_length(posting -> 'lines'), posting ->> 'source_type',
          posting ->> 'source_id', coalesce(posting ->> 'description', ''),
          (posting -> 'enforces_floors')::boolean, (posting ->> 'effective_at')::timestamptz,
          (posting ->> 'reverses')::bigint, (posting ->> 'resolves')::bigint,
          coalesce(posting -> 'metadata', '{}'))
  ON CONFLICT ON CONSTRAINT ledger_journal_entry_idempotency DO NOTHING
  RETURNING id INTO new_id;
  IF new_id IS NULL THEN
    RETURN -public.ledger_known_entry(posting);
  END IF;
  INSERT INTO public.ledger_line (entry_id, line_number, account_id, currency, pending,
                                  debit_minor, credit_minor, description)
  SELECT new_id, l.line_number, account_ids[l.line_number], l.currency,
         coalesce(l.pending, false), coalesce(l.debit_minor, 0), coalesce(l.credit_minor, 0),
         coalesce(l.description, '')
    FROM ROWS FROM (jsonb_to_recordset(posting -> 'lines') AS (
           currency text, debit_minor bigint, credit_minor bigint, pending boolean,
           description text))
         WITH ORDINALITY AS l(currency, debit_minor, credit_minor, pending, description,
                              line_number);
  RETURN new_id;
END $$;

-- Posts any number of entries in one statement: all of them or none.
-- postings: [{"idempotency_key", "kind", "livemode", "source_type", "source_id", "description",
--             "enforces_floors", "effective_at", "reverses", "resolves", "metadata",
--             "lines": [{what ledger_open_accounts takes, and "debit_minor" or "credit_minor",
--                        "pending", "description"}, ...]}, ...]
-- Returns the id of each entry in the given order, negative where the entry was known already.
CREATE FUNCTION ledger_post(postings jsonb) RETURNS bigint[]
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
  only_id bigint;
  written bigint[];
  ids     bigint[];
BEGIN
  IF jsonb_array_length(postings) = 1 THEN
    only_id := public.ledger_post_one(postings -> 0);
    IF only_id IS NOT NULL THEN
      RETURN ARRAY[only_id];
    END IF;
  END IF;
  -- The first attempt is the whole work when all accounts exist and all keys are new. Otherwise it
  -- has written the new entries, or nothing if an account was missing, and is made once more.
  FOR attempt IN 1..2 LOOP
    WITH wanted AS MATERIALIZED (
      SELECT w.* FROM ROWS FROM (jsonb_to_recordset(postings) AS (
               idempotency_key text, kind text, livemode boolean, source_type text, source_id text,
               description text, enforces_floors boolean, effective_at timestamptz,
               reverses bigint, resolves bigint, metadata jsonb, lines jsonb))
             WITH ORDINALITY AS w(idempotency_key, kind, livemode, source_type, source_id,
               description, enforces_floors, effective_at, reverses, resolves, metadata, lines,
               place)),
    wanted_line AS MATERIALIZED (
      -- The look-up is a subquery so that it stays one index probe per line in every plan.
      SELECT w.idempotency_key, l.*,
             (SELECT a.id FROM public.ledger_account a
               WHERE a.owner = coalesce(l.owner, '') AND a.code = l.code
                 AND a.currency = l.currency AND a.livemode = w.livemode
                 AND a.kind = l.kind AND a.floor_minor IS NOT DISTINCT FROM l.floor_minor
             ) AS account_id
        FROM wanted w CROSS JOIN LATERAL
             ROWS FROM (jsonb_to_recordset(w.lines) AS (
               code text, owner text, currency text, kind text, floor_minor bigint,
               debit_minor bigint, credit_minor bigint, pending boolean, description text))
             WITH ORDINALITY AS l(code, owner, currency, kind, floor_minor, debit_minor,
               credit_minor, pending, description, line_number)),
    entry AS (
      -- In one order for everybody: two batches that share keys cannot deadlock on them.
      INSERT INTO public.ledger_journal_entry
             (idempotency_key, kind, livemode, line_count, source_type, source_id, description,
              enforces_floors, effective_at, reverses, resolves, metadata)
      SELECT idempotency_key, kind, livemode, jsonb_array_length(lines), source_type, source_id,
             coalesce(description, ''), enforces_floors, effective_at, reverses, resolves,
             coalesce(metadata, '{}')
        FROM wanted WHERE NOT EXISTS (SELECT FROM wanted_line WHERE account_id IS NULL)
       ORDER BY idempotency_key
      ON CONFLICT ON CONSTRAINT ledger_journal_entry_idempotency DO NOTHING
      RETURNING id, idempotency_key),
    line AS (
      INSERT INTO public.ledger_line (entry_id, line_number, account_id, currency, pending,
                                      debit_minor, credit_minor, description)
      SELECT entry.id, line_number, account_id, currency, coalesce(pending, false),
             coalesce(debit_minor, 0), coalesce(credit_minor, 0), coalesce(description, '')
        FROM entry JOIN wanted_line USING (idempotency_key))
    SELECT array_agg(entry.id ORDER BY place) INTO written
      FROM wanted LEFT JOIN entry USING (idempotency_key);

    IF array_position(written, NULL) IS NULL THEN
      RETURN written;
    END IF;
    IF attempt = 1 THEN
      ids := written;
      PERFORM public.ledger_open_accounts((
        SELECT jsonb_agg(line || jsonb_build_object('livemode', posting -> 'livemode'))
          FROM jsonb_array_elements(postings) AS posting,
               jsonb_array_elements(posting -> 'lines') AS line));
    END IF;
  END LOOP;

  SELECT array_agg(coalesce(first_id, second_id, -public.ledger_known_entry(posting)) ORDER BY place)
    INTO ids
    FROM ROWS FROM (unnest(ids), unnest(written), jsonb_array_elements(postings))
         WITH ORDINALITY AS p(first_id, second_id, posting, place);
  RETURN ids;
END $$;
