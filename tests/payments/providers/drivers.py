"""The list of all drivers: the worlds that the conformance suite runs in."""

from __future__ import annotations

from tests.payments.providers.driver import Driver
from tests.payments.providers.localstripe_driver import LocalstripeDriver
from tests.payments.providers.sandbox_driver import SandboxDriver
from tests.payments.providers.stripe_driver import StripeStandInDriver

__all__ = ["DRIVERS", "LocalstripeDriver", "SandboxDriver", "StripeStandInDriver"]

DRIVERS: tuple[type[Driver], ...] = (SandboxDriver, StripeStandInDriver, LocalstripeDriver)
