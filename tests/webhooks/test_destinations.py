"""Where webhooks may go: every way of writing a private address is refused, at both moments."""

from __future__ import annotations

import ipaddress
import itertools
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
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
    "long form with zeros": "https://0000127.0000.0000.01/",
    "octal throughout": "https://0177.0000.0000.0001/",
    "octal in one number": "https://017700000001/",
    "hexadecimal throughout": "https://0x7f.0x0.0x0.0x1/",
    "decimal beyond 32 bits": "https://4294967297/",
    "three parts": "https://127.0.1/",
    "nothing": "https://0/",
    "metadata, decimal": "https://2852039166/",
    "metadata, hexadecimal": "https://0xa9fea9fe/",
    "metadata, octal": "https://0251.0376.0251.0376/",
    "metadata of another cloud": "https://100.100.100.200/",
    "metadata of tasks": "https://169.254.170.2/",
    "percent-encoded address": "https://%31%32%37.0.0.1/",
    "percent-encoded name": "https://l%6fcalhost/",
    "circled digits": "https://\u2460\u2461\u2466.0.0.1/",
    "ideographic full stop": "https://127\u30020\u30020\u30021/",
    "soft hyphen": "https://exam\u00adple.com/",
    "metadata, name without a dot": "https://metadata/",
    "IPv4-mapped metadata": "https://[::ffff:169.254.169.254]/",
    "IPv4-mapped with zone": "https://[::ffff:127.0.0.1%25lo]/",
    "IPv4-mapped written out": "https://[0:0:0:0:0:ffff:a9fe:a9fe]/",
    "IPv4-translated": "https://[::ffff:0:127.0.0.1]/",
    "NAT64 of metadata": "https://[64:ff9b::169.254.169.254]/",
    "NAT64 local of metadata": "https://[64:ff9b:1:ffff::a9fe:a9fe]/",
    "6to4 of metadata": "https://[2002:a9fe:a9fe::1]/",
    "Teredo of loopback": "https://[2001:0:53aa:64c:0:fbff:80ff:fffe]/",
    "IPv6 site-local": "https://[fec0::1]/",
    "zone without its percent-encoding": "https://[fe80::1%eth0]/",
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


METADATA_NAMES = (
    "metadata.google.internal",
    "metadata.google.internal.",
    "instance-data.ec2.internal",
    "localhost.localdomain",
    "app.localhost",
)


@pytest.mark.parametrize("name", METADATA_NAMES)
def test_a_name_that_is_known_inside_is_refused_by_where_it_leads(name: str) -> None:
    destination = destinations.parse(f"https://{name}/", livemode=True, allowed_hosts=[])
    for address in ("169.254.169.254", "fd00:ec2::254", "127.0.0.1", "::1"):
        with pytest.raises(DestinationRefused, match="public internet"):
            destinations.pin(destination, resolver=lambda *_, found=address: [found])


PRIVATE_ANSWERS = [
    "0.0.0.0",
    "64:ff9b:1::a00:1",
    "2001:0:53aa:64c::1",
    "::ffff:0:127.0.0.1",
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


@pytest.fixture
def silent_name_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Names under hangs.example wait for the event, and then have no address."""
    answered = threading.Event()
    by_the_system = socket.getaddrinfo

    def look_up(host: str, *arguments: Any, **options: Any) -> Any:
        if host.endswith(".hangs.example"):
            answered.wait(60)
            raise OSError("nobody answered")
        return by_the_system(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield answered
    answered.set()


def test_many_names_that_hang_take_from_others_no_more_than_their_owners_part(
    silent_name_server: threading.Event,
) -> None:
    owner, refused_at_once = destinations.LOOKUPS_PER_OWNER, "other names of yours"
    names = [f"{secrets.token_hex(4)}.hangs.example" for _ in range(64)]
    with ThreadPoolExecutor(64) as senders:
        asked = [
            senders.submit(destinations.resolver_for("mer_hanging"), name, 443) for name in names
        ]
        refused = list(itertools.islice(as_completed(asked, timeout=60), 64 - owner))
        assert all(refused_at_once in str(each.exception()) for each in refused)
        assert destinations.resolver_for("mer_other")("localhost", 443)
        with pytest.raises(OSError, match=refused_at_once):
            destinations.resolver_for("mer_hanging")("localhost", 443)
        silent_name_server.set()
    deadline = time.monotonic() + 30
    while True:
        try:
            assert destinations.resolver_for("mer_hanging")("localhost", 443)
            break
        except OSError:
            assert time.monotonic() < deadline, "the owner's names were never let go"
