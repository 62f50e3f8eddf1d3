"""A small stand-in of Stripe's wire format, for what no public one offers.

Idempotency keys (a stored 500 included), declines with their codes, 3-D Secure, a payer who
confirms with the publishable key, balance transactions that become available, signed events, and
faults on request. Shapes follow Stripe's published objects; behaviour follows its documentation.
Run as a process: `python -m tests.stripe_stand_in --port N`.
"""
