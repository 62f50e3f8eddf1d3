"""The landing page and the metrics show each provider account's circuit breakers."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from django.test import Client, override_settings
from django.urls import reverse
from prometheus_client.parser import text_string_to_metric_families

from payments.actions.tell_breakers import tell_change
from payments.actions.through_breaker import breaker
from payments.admin.breakers import overview
from payments.providers.breaker import Verdict
from tests.payments.admin.conftest import Staff
from tests.payments.ill_provider import MINIMUM_CALLS, name_of, quick_breakers, state_of
from tests.payments.shop import Shop


@pytest.fixture
def open_breaker(shop: Shop) -> Iterator[str]:
    """The name of a breaker that three of four failed calls opened."""
    with quick_breakers():
        breakers = breaker()
        for number in range(MINIMUM_CALLS):
            admission = breakers.admit(name_of(shop))
            change = breakers.record(admission, Verdict(failed=number > 0, slow=number == 1))
        assert change == "opened"
        tell_change(name_of(shop), change, state=state_of(shop), now=datetime.now(UTC))
        yield name_of(shop)


def cards(page: str) -> list[str]:
    """The texts of the cards about breakers, without their markup."""
    section = re.search(r'<section[^>]*aria-label="Circuit breakers".*?</section>', page, re.DOTALL)
    assert section is not None
    pieces = section.group().split('<div class="mb-4">')[1:]
    return [" ".join(re.sub(r"<[^>]+>", " ", piece).split()) for piece in pieces]


def test_the_overview_shows_state_rate_since_and_next_probe(
    shop: Shop, open_breaker: str, staff: Callable[[str], Staff]
) -> None:
    page = staff("Operations").client.get(reverse("admin:index")).content.decode()
    (card,) = [text for text in cards(page) if shop.account.name in text and "failed (75%)" in text]
    assert "New payments" in card
    assert "Open: not asked" in card
    assert "3 of 4 calls failed (75%), 1 were slow" in card
    assert re.search(r"since .+ ago", card)
    assert "next try" in card
    assert reverse("admin:payments_provideraccount_change", args=[shop.account.pk]) in page


def test_the_picture_shows_the_calls_of_the_window(shop: Shop, open_breaker: str) -> None:
    found = overview(now=datetime.now(UTC))
    card = next(card for card in found.cards if shop.account.pk in card.account_url)
    assert card.picture is not None
    assert len(card.picture.bars) == 12
    drawn = {part.css_class for bar in card.picture.bars for part in bar.segments}
    assert "florin-bar-bad" in drawn
    words = " ".join(bar.words for bar in card.picture.bars if bar.segments)
    assert sum(int(calls) for calls in re.findall(r": (\d+) calls", words)) == 4


def test_without_redis_the_page_shows_what_was_told_last(shop: Shop, open_breaker: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nowhere = f"redis://127.0.0.1:{probe.getsockname()[1]}/0"
    with override_settings(REDIS_URL=nowhere):
        found = overview(now=datetime.now(UTC))
    assert not found.is_live
    card = next(card for card in found.cards if shop.account.pk in card.account_url)
    assert card.word == "Open: not asked"


def test_whoever_may_not_see_provider_accounts_sees_no_breakers(
    staff: Callable[[str], Staff],
) -> None:
    page = staff("").client.get(reverse("admin:index")).content.decode()
    assert 'aria-label="Circuit breakers"' not in page


def test_the_metrics_tell_each_breaker(shop: Shop, open_breaker: str) -> None:
    text = Client().get("/metrics").content.decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}

    def value(name: str) -> float:
        (sample,) = [
            sample
            for sample in families[name].samples
            if sample.labels["account"] == shop.account.pk
        ]
        assert sample.labels["provider"] == "sandbox"
        assert sample.labels["operation_class"] == "create"
        return sample.value

    assert value("florin_breaker_state") == 2
    assert value("florin_breaker_failure_ratio") == 0.75
