-- The four tables of the ledger. Everything a row can promise about itself is a constraint here;
-- what needs more than one row to judge is in 0001_guards.sql.
--
--   ledger_account        where value can stand: one per code, owner, currency and mode
--   ledger_journal_entry  one economic fact (the header), named by its source event
--   ledger_line           what the fact debits and credits, never changed
--   ledger_balance        running totals of the lines, written by a trigger and nobody else
--
-- Money is whole minor units in a bigint: a fixed size, no NaN, no infinity, no stray decimals.

CREATE TABLE ledger_account (
  id          bigint      GENERATED ALWAYS AS IDENTITY,
  code        text        NOT NULL,
  owner       text        NOT NULL DEFAULT '',
  currency    text        NOT NULL,
  livemode    boolean     NOT NULL,
  kind        text        NOT NULL,
  normal_side text        NOT NULL GENERATED ALWAYS AS
                (CASE WHEN kind IN ('asset', 'expense') THEN 'debit' ELSE 'credit' END) STORED,
  -- A busy account spreads its totals over several rows, so that writers do not queue.
  stripes     smallint    NOT NULL DEFAULT 1,
  -- Lowest available balance, on the normal side, that a refusable entry may leave behind.
  floor_minor bigint,
  opened_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  closed_at   timestamptz,
  metadata    jsonb       NOT NULL DEFAULT '{}',
  CONSTRAINT ledger_account_pk PRIMARY KEY (id),
  CONSTRAINT ledger_account_name UNIQUE (owner, code, currency, livemode),
  -- What a line's foreign key points at: a line's currency is its account's.
  CONSTRAINT ledger_account_currency_of_lines UNIQUE (id, currency),
  CONSTRAINT ledger_account_code_form
    CHECK (code ~ '^[a-z][a-z0-9_]*(:[a-z0-9_]+)*$' AND length(code) <= 80),
  CONSTRAINT ledger_account_owner_length CHECK (length(owner) <= 80),
  CONSTRAINT ledger_account_currency_form CHECK (currency ~ '^[A-Z]{3}$'),
  CONSTRAINT ledger_account_kind_known
    CHECK (kind IN ('asset', 'liability', 'equity', 'income', 'expense')),
  CONSTRAINT ledger_account_stripes_range CHECK (stripes BETWEEN 1 AND 64),
  -- A floor is judged on one locked row; over several rows it could not be.
  CONSTRAINT ledger_account_floor_needs_one_stripe CHECK (floor_minor IS NULL OR stripes = 1),
  CONSTRAINT ledger_account_metadata_form CHECK (jsonb_typeof(metadata) = 'object')
);

CREATE TABLE ledger_journal_entry (
  id              bigint      GENERATED ALWAYS AS IDENTITY,
  idempotency_key text        NOT NULL,
  kind            text        NOT NULL,
  livemode        boolean     NOT NULL,
  line_count      smallint    NOT NULL,
  -- The event this entry was made from, as opaque text: the ledger points at no other table.
  source_type     text        NOT NULL,
  source_id       text        NOT NULL,
  description     text        NOT NULL DEFAULT '',
  -- False for a fact from outside, which is recorded whatever the accounts' floors say.
  enforces_floors boolean     NOT NULL,
  -- When it happened in the world, and when this database learnt of it.
  effective_at    timestamptz NOT NULL,
  recorded_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- The writing database transaction: identities are not in order of commit, snapshots are.
  xid             bigint      NOT NULL DEFAULT (pg_current_xact_id()::text::bigint),
  reverses        bigint,
  resolves        bigint,
  metadata        jsonb       NOT NULL DEFAULT '{}',
  CONSTRAINT ledger_journal_entry_pk PRIMARY KEY (id),
  CONSTRAINT ledger_journal_entry_idempotency UNIQUE (idempotency_key),
  CONSTRAINT ledger_journal_entry_reverses_entry
    FOREIGN KEY (reverses) REFERENCES ledger_journal_entry (id),
  CONSTRAINT ledger_journal_entry_resolves_entry
    FOREIGN KEY (resolves) REFERENCES ledger_journal_entry (id),
  CONSTRAINT ledger_journal_entry_one_earlier_link CHECK (
    CASE WHEN reverses IS NULL THEN resolves IS NULL OR resolves < id
         ELSE resolves IS NULL AND reverses < id END),
  CONSTRAINT ledger_journal_entry_two_lines CHECK (line_count >= 2),
  CONSTRAINT ledger_journal_entry_named
    CHECK (idempotency_key <> '' AND kind <> '' AND source_type <> '' AND source_id <> ''),
  CONSTRAINT ledger_journal_entry_effective_finite CHECK (isfinite(effective_at))
);
CREATE INDEX ledger_journal_entry_source ON ledger_journal_entry (source_id, source_type);
-- Few entries are linked to another, so these do not burden the others.
CREATE UNIQUE INDEX ledger_journal_entry_reversed_once ON ledger_journal_entry (reverses)
  WHERE reverses IS NOT NULL;
CREATE UNIQUE INDEX ledger_journal_entry_resolved_once ON ledger_journal_entry (resolves)
  WHERE resolves IS NOT NULL;

-- Not partitioned: a header's foreign key to its last line would forbid detaching a partition.
CREATE TABLE ledger_line (
  entry_id     bigint   NOT NULL,
  account_id   bigint   NOT NULL,
  debit_minor  bigint   NOT NULL DEFAULT 0,
  credit_minor bigint   NOT NULL DEFAULT 0,
  line_number  smallint NOT NULL,
  -- Two layers that never mix: posted money, and pending money (a hold) until it is resolved.
  pending      boolean  NOT NULL DEFAULT false,
  currency     text     NOT NULL,
  description  text     NOT NULL DEFAULT '',
  CONSTRAINT ledger_line_pk PRIMARY KEY (entry_id, line_number),
  CONSTRAINT ledger_line_entry FOREIGN KEY (entry_id) REFERENCES ledger_journal_entry (id),
  CONSTRAINT ledger_line_account
    FOREIGN KEY (account_id, currency) REFERENCES ledger_account (id, currency),
  CONSTRAINT ledger_line_numbered_from_one CHECK (line_number >= 1),
  CONSTRAINT ledger_line_debit_or_credit
    CHECK ((debit_minor > 0 AND credit_minor = 0) OR (debit_minor = 0 AND credit_minor > 0))
);
CREATE INDEX ledger_line_of_account ON ledger_line (account_id, entry_id);

-- A header cannot be committed without its last line, nor lines without their header.
ALTER TABLE ledger_journal_entry ADD CONSTRAINT ledger_journal_entry_last_line
  FOREIGN KEY (id, line_count) REFERENCES ledger_line (entry_id, line_number)
  DEFERRABLE INITIALLY DEFERRED;

-- Gross counters, which only ever grow. A hold that is resolved is not taken off the pending
-- counters: it is added to the released ones, so that pending minus released is what is still held.
CREATE TABLE ledger_balance (
  account_id            bigint   NOT NULL,
  posted_debit_minor    bigint   NOT NULL DEFAULT 0,
  posted_credit_minor   bigint   NOT NULL DEFAULT 0,
  pending_debit_minor   bigint   NOT NULL DEFAULT 0,
  pending_credit_minor  bigint   NOT NULL DEFAULT 0,
  released_debit_minor  bigint   NOT NULL DEFAULT 0,
  released_credit_minor bigint   NOT NULL DEFAULT 0,
  line_count            bigint   NOT NULL DEFAULT 0,
  stripe                smallint NOT NULL,
  closed                boolean  NOT NULL DEFAULT false,
  CONSTRAINT ledger_balance_pk PRIMARY KEY (account_id, stripe),
  CONSTRAINT ledger_balance_account FOREIGN KEY (account_id) REFERENCES ledger_account (id)
) WITH (fillfactor = 50);  -- room for updates in place: no index entry changes
