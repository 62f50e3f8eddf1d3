"""A double-entry ledger whose rules PostgreSQL enforces; it knows no payment, no merchant.

Other apps use `posting`, `accounts`, `balances`, `money` and `integrity`; the tables are private.
"""
