"""Requests made up from the API's document, against the running server: no answer surprises.

Each operation gets generated requests, good and bad ones. Whatever comes back has a documented
status, the documented shape and headers, and is never a server error. The suite makes a few for
each, the same every time; `make prove` many, others every time.
"""

from __future__ import annotations

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import checks

from payments.api.openapi import document_text
from tests.payments.shop import Shop, open_shop
from tests.processes import RunningProcess

EXAMPLES_IN_THE_SUITE = 4
EXAMPLES_IN_THE_PROOF = 100
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.missing_required_header,
    checks.unsupported_method,
]


@pytest.fixture(scope="module")
def fuzzed_shop(sandbox_psp: RunningProcess) -> Shop:
    """A merchant whose data may become anything."""
    return open_shop()


# Test by test the same document that the server gives out (test_documentation.py).
schema = schemathesis.openapi.from_dict(json.loads(document_text()))


@schema.parametrize()
@settings(
    max_examples=EXAMPLES_IN_THE_SUITE,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_a_documented_one(
    case: schemathesis.Case, web: RunningProcess, fuzzed_shop: Shop
) -> None:
    check_answer(case, web.url, fuzzed_shop)


@pytest.mark.prove
@schema.parametrize()
@settings(
    max_examples=EXAMPLES_IN_THE_PROOF,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_to_many_requests_is_a_documented_one(
    case: schemathesis.Case, web: RunningProcess, fuzzed_shop: Shop
) -> None:
    check_answer(case, web.url, fuzzed_shop)


def check_answer(case: schemathesis.Case, url: str, shop: Shop) -> None:
    """Send the request with the key its address is for, and judge what comes back."""
    for_browsers = case.operation.path.startswith("/v1/client/")
    key = shop.publishable_key if for_browsers else shop.secret_key
    case.call_and_validate(
        base_url=url,
        headers={"Authorization": f"Bearer {key}"},
        timeout=60,
        checks=CHECKS,
    )
