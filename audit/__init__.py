"""The audit trail: who did what to which thing, when and why, in rows that nobody can change.

Other apps append (audit.log), read (audit.timeline) and keep secrets (audit.encryption). This app
knows none of them.
"""
