"""A small stand-in of Stripe's wire format, for what no public one offers.

Idempotency keys (a stored 500 included), declines with their codes, 3-D Secure, a payer who
confirms with the publishable key, multicapture, increments, Radar reviews, refunds that fail late,
disputes with evidence and files, bank debits that fail or come back, customers and saved methods,
balance transactions that become available and are paid out, signed events, and faults on request.
Shapes follow Stripe's published objects (parameters are checked against the SDK's types);
behaviour follows its documentation. Run as a process: `python -m tests.stripe_stand_in --port N`.
"""
