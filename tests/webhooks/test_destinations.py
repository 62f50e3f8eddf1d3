"""Where webhooks may go: every way of writing a private address is refused, at both moments."""

from __future__ import annotations

import ipaddress
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from webhooks import destinations
from webhooks.destinations import DestinationRefused

REFUSED_URLS = {
    "private 10": "https://10.0.0.1/",
    "private 172": "https://172.16.3.4/",
    "private 192": "https://192.168.1.1/",
    "loopback": "https://127.0.0.1/",
    "loopback elsewhere": "https://127.9.9.9/",
    "this network": "https://0.0.0.0/",
    "link-local": "https://169.254.1.1/",
    "cloud metadata": "https://169.254.169.254/latest/meta-data/",
    "carrier-grade NAT": "https://100.64.0.1/",
    "protocol assignments": "https://192.0.0.8/",
    "documentation": "https://203.0.113.7/",
    "benchmarking": "https://198.18.0.1/",
    "6to4 relay anycast": "https://192.88.99.1/",
    "multicast": "https://224.0.0.1/",
    "reserved": "https://240.0.0.1/",
    "broadcast": "https://255.255.255.255/",
    "decimal": "https://2130706433/",
    "octal": "https://0177.0.0.1/",
    "hexadecimal": "https://0x7f000001/",
    "hexadecimal parts": "https://0x7f.0.0.1/",
    "short form": "https://127.1/",
    "short form with a dot": "https://127.1./",
    "trailing dot": "https://127.0.0.1./",
    "IPv6 loopback": "https://[::1]/",
    "IPv6 unspecified": "https://[::]/",
    "IPv6 link-local": "https://[fe80::1]/",
    "IPv6 link-local with zone": "https://[fe80::1%25eth0]/",
    "IPv6 unique local": "https://[fd00:ec2::254]/",
    "IPv6 multicast": "https://[ff02::1]/",
    "IPv6 documentation": "https://[2001:db8::1]/",
    "IPv6 discard": "https://[100::1]/",
    "IPv4-mapped": "https://[::ffff:127.0.0.1]/",
    "IPv4-mapped hexadecimal": "https://[::ffff:7f00:1]/",
    "IPv4-compatible": "https://[::127.0.0.1]/",
    "NAT64": "https://[64:ff9b::7f00:1]/",
    "NAT64 local": "https://[64:ff9b:1::a00:1]/",
    "6to4": "https://[2002:7f00:1::]/",
    "Teredo": "https://[2001::1]/",
    "SRv6": "https://[5f00::1]/",
    "name without a dot": "https://localhost/",
    "name without a dot, rooted": "https://localhost./",
    "credentials": "https://user:secret@example.com/",
    "user name": "https://user@example.com/",
    "another port": "https://example.com:6379/",
    "port 80 in live mode": "https://example.com:80/",
    "port out of range": "https://example.com:99999/",
    "http in live mode": "http://example.com/",
    "another scheme": "ftp://example.com/",
    "gopher": "gopher://127.0.0.1:6379/_FLUSHALL",
    "no scheme": "example.com/hook",
    "no host": "https:///hook",
    "space": "https://exam ple.com/",
    "line break": "https://example.com/\r\nHost: evil",
    "backslash": "https://example.com\\@127.0.0.1/",
    "not ASCII": "https://ex\u00e4mple.com/",
    "full-width digits": "https://\uff11\uff12\uff17.0.0.1/",
    "bad name": "https://-example-.com/",
    "broken brackets": "https://[::1/",
    "too long": "https://example.com/" + "a" * 2000,
}


@pytest.mark.parametrize("url", REFUSED_URLS.values(), ids=REFUSED_URLS.keys())
def test_a_destination_inside_or_disguised_is_refused_by_its_form(url: str) -> None:
    with pytest.raises(DestinationRefused):
        destinations.parse(url, livemode=True, allowed_hosts=[])


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hook",
        "https://hooks.example.com:8443/a?b=c",
        "https://93.184.216.34/",
        "https://[2606:2800:220:1::1]/",
        "https://xn--exmple-cua.com/",
    ],
)
def test_an_ordinary_public_https_address_is_accepted(url: str) -> None:
    destinations.parse(url, livemode=True, allowed_hosts=[])


def test_plain_http_and_port_80_are_for_test_mode_only() -> None:
    destination = destinations.parse("http://example.com/", livemode=False, allowed_hosts=[])
    assert (destination.port, destination.target) == (80, "/")
    with pytest.raises(DestinationRefused, match="https"):
        destinations.parse("http://example.com/", livemode=True, allowed_hosts=[])


PRIVATE_ANSWERS = [
    "127.0.0.1",
    "10.1.2.3",
    "169.254.169.254",
    "100.100.100.200",
    "::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "2002:a00:1::",
    "::10.0.0.1",
    "224.0.0.251",
]


@pytest.mark.parametrize("address", PRIVATE_ANSWERS)
def test_a_name_that_resolves_inside_is_refused(address: str) -> None:
    destination = destinations.parse("https://example.com/", livemode=True, allowed_hosts=[])
    with pytest.raises(DestinationRefused, match="public internet"):
        destinations.pin(destination, resolver=lambda *_: [address])


def test_one_private_address_among_public_ones_refuses_the_name() -> None:
    destination = destinations.parse("https://example.com/", livemode=True, allowed_hosts=[])
    with pytest.raises(DestinationRefused, match="public internet"):
        destinations.pin(destination, resolver=lambda *_: ["93.184.216.34", "10.0.0.1"])


def test_the_address_that_was_judged_is_the_address_that_is_used() -> None:
    answers = iter([["93.184.216.34"], ["127.0.0.1"]])
    destination = destinations.parse("https://example.com/", livemode=True, allowed_hosts=[])

    def rebinding(host: str, port: int) -> list[str]:
        return next(answers)

    assert destinations.pin(destination, resolver=rebinding) == "93.184.216.34"
    with pytest.raises(DestinationRefused):
        destinations.pin(destination, resolver=rebinding)


@pytest.mark.parametrize(
    "answer", [OSError("no such host"), [], ["not an address"]], ids=["error", "empty", "garbage"]
)
def test_a_name_that_does_not_resolve_is_refused_as_such(answer: object) -> None:
    destination = destinations.parse("https://example.com/", livemode=True, allowed_hosts=[])

    def resolver(host: str, port: int) -> list[str]:
        if isinstance(answer, OSError):
            raise answer
        return list(answer)  # type: ignore[call-overload]

    with pytest.raises(DestinationRefused) as refusal:
        destinations.pin(destination, resolver=resolver)
    assert refusal.value.code == "host_unresolved"


def test_only_the_exact_pair_of_host_and_port_is_exempt() -> None:
    pairs = ["127.0.0.1:8020", "receiver:9000", "[::1]:8020"]
    for url in ("http://127.0.0.1:8020/", "http://receiver:9000/", "http://[::1]:8020/"):
        assert destinations.parse(url, livemode=False, allowed_hosts=pairs).trusted
    for url in ("http://127.0.0.1:8021/", "http://127.0.0.2:8020/", "http://receiver/"):
        with pytest.raises(DestinationRefused):
            destinations.parse(url, livemode=False, allowed_hosts=pairs)
    with pytest.raises(DestinationRefused, match="https"):
        destinations.parse("http://127.0.0.1:8020/", livemode=True, allowed_hosts=pairs)


def test_the_system_resolver_answers_with_addresses() -> None:
    assert ipaddress.ip_address(destinations.resolve("localhost", 443)[0]).is_loopback


def test_a_name_server_that_hangs_keeps_no_other_name_from_being_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answered, all_ask = threading.Event(), threading.Barrier(101)
    by_the_system = socket.getaddrinfo

    def look_up(host: str, *arguments: Any, **options: Any) -> Any:
        if host == "hangs.example":
            answered.wait(60)
            raise OSError("nobody answered")
        return by_the_system(host, *arguments, **options)

    def ask() -> list[str]:
        all_ask.wait(60)
        return destinations.resolve("hangs.example", 443)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with ThreadPoolExecutor(100) as senders:
        hanging = [senders.submit(ask) for _ in range(100)]
        try:
            all_ask.wait(60)
            assert destinations.resolve("localhost", 443)
        finally:
            answered.set()
        assert all(isinstance(each.exception(), OSError) for each in hanging)
