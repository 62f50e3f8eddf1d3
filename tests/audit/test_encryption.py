"""Secrets at rest: bound to their place and key, and closed in every other case."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from audit import encryption

OLD = "old:" + base64.b64encode(b"o" * 32).decode()
NEW = "new:" + base64.b64encode(b"n" * 32).decode()
PLACE = "payments.provideraccount.secrets:pacc_1"


@pytest.fixture
def keys(settings: object) -> Callable[..., None]:
    """Set the key ring: `keys(NEW, OLD)`."""

    def use(*entries: str) -> None:
        settings.FLORIN_ENCRYPTION_KEYS = list(entries)  # type: ignore[attr-defined]

    use(OLD)
    return use


@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=300), st.text(min_size=1, max_size=60))
def test_what_was_encrypted_for_a_place_is_read_at_that_place(clear: bytes, place: str) -> None:
    assert encryption.decrypt(encryption.encrypt(clear, context=place), context=place) == clear


def test_a_text_is_encrypted_as_utf8(keys: Callable[..., None]) -> None:
    assert encryption.decrypt(encryption.encrypt("Grüße", context="c"), context="c") == (
        "Grüße".encode()
    )


def test_equal_secrets_have_different_tokens_that_show_nothing(keys: Callable[..., None]) -> None:
    tokens = {encryption.encrypt("sk_live_equal", context=PLACE) for _ in range(50)}
    assert len(tokens) == 50
    assert not any(b"sk_live" in token or b"equal" in token for token in tokens)


def test_a_token_moved_to_another_row_or_column_is_refused(keys: Callable[..., None]) -> None:
    token = encryption.encrypt("x", context=PLACE)
    for elsewhere in (
        "payments.provideraccount.secrets:pacc_2",
        "payments.provideraccount.other:pacc_1",
        PLACE + " ",
    ):
        with pytest.raises(encryption.DecryptionFailed, match="does not belong to"):
            encryption.decrypt(token, context=elsewhere)


def test_every_changed_byte_is_noticed(keys: Callable[..., None]) -> None:
    token = encryption.encrypt("secret", context=PLACE)
    for position in range(len(token)):
        changed = bytearray(token)
        changed[position] ^= 1
        with pytest.raises(encryption.DecryptionFailed):
            encryption.decrypt(bytes(changed), context=PLACE)


def test_every_cut_is_noticed(keys: Callable[..., None]) -> None:
    token = encryption.encrypt("secret", context=PLACE)
    for length in range(len(token)):
        with pytest.raises(encryption.DecryptionFailed):
            encryption.decrypt(token[:length], context=PLACE)


def test_an_older_key_still_reads_and_the_first_one_writes(keys: Callable[..., None]) -> None:
    old = encryption.encrypt("x", context=PLACE)
    keys(NEW, OLD)
    assert encryption.decrypt(old, context=PLACE) == b"x"
    new = encryption.encrypt("x", context=PLACE)
    assert new.startswith(encryption.token_header("new"))
    assert encryption.first_key_id() == "new"
    keys(NEW)
    assert encryption.decrypt(new, context=PLACE) == b"x"


def test_a_key_that_left_the_ring_reads_nothing_and_is_named(keys: Callable[..., None]) -> None:
    token = encryption.encrypt("x", context=PLACE)
    keys(NEW)
    with pytest.raises(encryption.DecryptionFailed, match="'old' is not in FLORIN_ENCRYPTION_KEYS"):
        encryption.decrypt(token, context=PLACE)


def test_another_key_of_the_same_id_reads_nothing(keys: Callable[..., None]) -> None:
    token = encryption.encrypt("x", context=PLACE)
    keys("old:" + base64.b64encode(b"z" * 32).decode())
    with pytest.raises(encryption.DecryptionFailed):
        encryption.decrypt(token, context=PLACE)


def test_a_place_is_needed(keys: Callable[..., None]) -> None:
    with pytest.raises(ValueError, match="context"):
        encryption.encrypt("x", context="")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], "is empty"),
        (["a"], "'a' is not"),
        (["a:***"], "'a' is not"),
        (["a:" + base64.b64encode(b"short").decode()], "32 random bytes"),
        ([":" + base64.b64encode(b"k" * 32).decode()], "'' is not"),
        (["i" * 64 + ":" + base64.b64encode(b"k" * 32).decode()], "short ids"),
        ([OLD, OLD], "different short ids"),
    ],
)
def test_a_wrong_ring_stops_everything_and_shows_no_key(
    keys: Callable[..., None], entries: list[str], message: str
) -> None:
    keys(*entries)
    with pytest.raises(ImproperlyConfigured, match=message) as failure:
        encryption.encrypt("x", context=PLACE)
    assert "kkkk" not in str(failure.value)
    assert "a2tra" not in str(failure.value)


def test_a_blind_index_finds_equal_values_of_one_purpose_only(keys: Callable[..., None]) -> None:
    index = encryption.blind_index("a@example.org", purpose="email")
    assert index == encryption.blind_index(b"a@example.org", purpose="email")
    assert len(index) == 64
    assert index != encryption.blind_index("b@example.org", purpose="email")
    assert index != encryption.blind_index("a@example.org", purpose="iban")
    with pytest.raises(ValueError, match="purpose"):
        encryption.blind_index("x", purpose="")


def test_a_blind_index_of_an_older_key_is_still_found(keys: Callable[..., None]) -> None:
    written = encryption.blind_index("a@example.org", purpose="email")
    keys(NEW, OLD)
    candidates = encryption.blind_index_candidates("a@example.org", purpose="email")
    assert encryption.blind_index("a@example.org", purpose="email") == candidates[0] != written
    assert written in candidates
