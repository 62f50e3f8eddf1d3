-- The application reads the tables and calls the functions; it writes no row by itself, except that
-- it may ask for an account to be closed or described, which a trigger judges.

REVOKE ALL ON ledger_account, ledger_journal_entry, ledger_line, ledger_balance
  FROM PUBLIC, florin_app;
REVOKE ALL ON SEQUENCE ledger_account_id_seq, ledger_journal_entry_id_seq FROM PUBLIC, florin_app;
GRANT SELECT ON ledger_account, ledger_journal_entry, ledger_line, ledger_balance TO florin_app;
GRANT UPDATE (closed_at, metadata) ON ledger_account TO florin_app;

REVOKE ALL ON FUNCTION ledger_post(jsonb), ledger_post_one(jsonb), ledger_open_accounts(jsonb),
  ledger_known_entry(jsonb), ledger_judge_lines(bigint[]), ledger_judge_links(bigint[]),
  ledger_judge_floor(bigint, bigint), ledger_explain_movement(bigint) FROM PUBLIC, florin_app;
GRANT EXECUTE ON FUNCTION ledger_post(jsonb), ledger_open_accounts(jsonb) TO florin_app;
