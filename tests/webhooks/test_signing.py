"""Standard Webhooks signatures: the published vector, the reference library, forgeries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import standardwebhooks

from webhooks import signing

# The vector of the specification's reference implementations.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
TIMESTAMP = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
MOMENT = datetime.fromtimestamp(TIMESTAMP, UTC)


def signed(*secrets: str, at: datetime = MOMENT, body: bytes = BODY) -> dict[str, str]:
    return signing.headers(secrets=secrets, message_id=MESSAGE_ID, attempted_at=at, body=body)


def test_the_published_vector_is_reproduced() -> None:
    assert signed(SECRET) == {
        "webhook-id": MESSAGE_ID,
        "webhook-timestamp": str(TIMESTAMP),
        "webhook-signature": SIGNATURE,
    }


def test_the_reference_library_accepts_what_we_sign() -> None:
    secret, body = signing.new_secret(), '{"name": "jos\u00e9"}'.encode()
    headers = signed(secret, at=datetime.now(UTC), body=body)
    assert standardwebhooks.Webhook(secret).verify(body, headers) == {"name": "jos\u00e9"}


def test_during_a_rotation_both_secrets_verify_with_the_reference_library() -> None:
    new, old = signing.new_secret(), signing.new_secret()
    headers = signed(new, old, at=datetime.now(UTC))
    for secret in (new, old):
        standardwebhooks.Webhook(secret).verify(BODY, headers)
    assert headers["webhook-signature"].count("v1,") == 2


def test_our_own_check_accepts_what_is_genuine_and_fresh() -> None:
    signing.verify(secret=SECRET, headers=signed(SECRET), body=BODY, now=MOMENT)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-signature": "garbage"},
        {"webhook-signature": "v1,abc"},
        {"webhook-signature": "v1,\u00e9"},
        {"webhook-signature": ""},
        {"webhook-timestamp": "soon"},
        {"webhook-timestamp": str(TIMESTAMP + 1)},
        {"webhook-id": "msg_other"},
    ],
)
def test_a_forged_or_malformed_header_is_refused_in_one_way(change: dict[str, str]) -> None:
    with pytest.raises(signing.InvalidSignature):
        signing.verify(secret=SECRET, headers=signed(SECRET) | change, body=BODY, now=MOMENT)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_refused(name: str) -> None:
    headers = signed(SECRET)
    del headers[name]
    with pytest.raises(signing.InvalidSignature):
        signing.verify(secret=SECRET, headers=headers, body=BODY, now=MOMENT)


@pytest.mark.parametrize("minutes", [-6, 6])
def test_an_old_or_future_timestamp_is_refused(minutes: int) -> None:
    with pytest.raises(signing.InvalidSignature, match="five minutes"):
        signing.verify(
            secret=SECRET,
            headers=signed(SECRET),
            body=BODY,
            now=MOMENT + timedelta(minutes=minutes),
        )


def test_a_changed_body_is_refused() -> None:
    with pytest.raises(signing.InvalidSignature):
        signing.verify(secret=SECRET, headers=signed(SECRET), body=BODY + b" ", now=MOMENT)


def test_a_secret_that_is_not_base64_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="Bug!"):
        signed("whsec_not base64")


def test_secrets_have_32_random_bytes_and_the_prefix() -> None:
    assert len({signing.new_secret() for _ in range(50)}) == 50
    assert signing.new_secret().startswith("whsec_")
