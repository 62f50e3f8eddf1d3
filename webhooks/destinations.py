"""Where we may send a request that somebody else has addressed (SSRF guard).

Mental model: a URL is judged twice. Its form (scheme, port, credentials, literal addresses) is
judged when it is saved and again before each request; the addresses its host resolves to are
judged in the same moment in which one of them is pinned for the connection, so a name that
changes its mind in between gains nothing. What is not publicly routable is refused, including
every way of writing or wrapping a private IPv4 address. The one exception is a list of exact
"host:port" pairs in settings.FLORIN_WEBHOOK_ALLOWED_HOSTS.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# (host, port) -> addresses as text; raises OSError when the name does not resolve.
Resolver = Callable[[str, int], list[str]]

RESOLVE_TIMEOUT_SECONDS = 5.0
LIVE_PORTS = frozenset({443, 8443})
TEST_PORTS = LIVE_PORTS | {80}
URL_LENGTH_MAX = 2000

# The registries of special-purpose addresses (IANA, RFC 6890 and later), written out because
# Python's `is_global` differs between the versions we support.
_REFUSED_NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
# Only 2000::/3 is allocated for global unicast; inside it these are not for us.
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_REFUSED_NETWORKS_V6 = tuple(
    ipaddress.ip_network(network)
    for network in (
        "2001::/23",  # protocol assignments, among them Teredo 2001::/32
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4 wraps an IPv4 address
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
# inet_aton spellings: one to four numbers, decimal, octal or hexadecimal.
_NUMERIC_HOST = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+)){0,3}\.?", re.IGNORECASE)
_HOST_NAME = re.compile(r"(?!-)[a-z0-9-]{1,63}(\.(?!-)[a-z0-9-]{1,63})*", re.IGNORECASE)
_CONTROL_OR_SPACE = re.compile(r"[\x00-\x20\x7f\\]")

# A lookup that hangs keeps its thread for as long as the system's resolver tries, half a minute and
# more, long after its caller has gone. So a name has one thread at most, however many requests wait
# for it, and the names of one owner have a small part of all threads.
LOOKUPS_MAX = 256
LOOKUPS_PER_OWNER = 8
_resolving = ThreadPoolExecutor(max_workers=LOOKUPS_MAX, thread_name_prefix="resolve")
_lookups: dict[tuple[str, int], Future[list[Any]]] = {}
_lookups_by_owner: Counter[str] = Counter()
_lookups_lock = Lock()


class DestinationRefused(ValueError):
    """This address may not receive requests; the message says why, `code` names the rule."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Destination:
    """A URL whose form was accepted. `trusted` pairs are exempt from the rules on addresses."""

    scheme: str
    host: str
    port: int
    target: str  # path and query, as sent
    trusted: bool


def parse(url: str, *, livemode: bool, allowed_hosts: Collection[str] | None = None) -> Destination:
    """Judge the form of `url`. Raises DestinationRefused.

    `allowed_hosts` are exact "host:port" pairs, by default those of the settings.
    """
    if len(url) > URL_LENGTH_MAX or _CONTROL_OR_SPACE.search(url) or not url.isascii():
        raise DestinationRefused(
            "url_malformed", "Write the URL in ASCII (punycode, percent-encoding), without spaces."
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise DestinationRefused("url_malformed", f"This is not a URL: {error}.") from error
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise DestinationRefused("scheme", "Give a complete URL that begins with https://.")
    if parts.scheme == "http" and livemode:
        raise DestinationRefused("scheme", "Live events are only sent over https.")
    if parts.username is not None or parts.password is not None:
        raise DestinationRefused("credentials", "Leave user name and password out of the URL.")
    host = parts.hostname.lower()
    port = port if port is not None else (443 if parts.scheme == "https" else 80)
    allowed = settings.FLORIN_WEBHOOK_ALLOWED_HOSTS if allowed_hosts is None else allowed_hosts
    destination = Destination(
        scheme=parts.scheme,
        host=host,
        port=port,
        target=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        trusted=_pair(host, port) in allowed,
    )
    if not destination.trusted:
        _judge_port(port, livemode=livemode)
        _judge_host(host)
    return destination


def pin(destination: Destination, *, resolver: Resolver | None = None) -> str:
    """The one address to connect to. Raises DestinationRefused.

    Refused when *any* address of the name is refused: a name with a public and a private address
    has no honest use here. `resolver` stands in for DNS.
    """
    addresses = _resolve(destination, resolver or resolve)
    if not destination.trusted:
        for address in addresses:
            if not is_public(address):
                raise DestinationRefused(
                    "address_not_public",
                    f"{destination.host} resolves to an address off the public internet.",
                )
    return str(addresses[0])


def is_public(address: Address) -> bool:
    """Whether an address is an ordinary public one, also after unwrapping what it may wrap."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _REFUSED_NETWORKS)
    # Whatever wraps IPv4 (mapped, compatible, NAT64, 6to4, ISATAP's prefixes) lies outside the
    # global unicast block or inside a refused part of it, except 6to4 and Teredo, named above.
    return address in _GLOBAL_UNICAST and not any(
        address in network for network in _REFUSED_NETWORKS_V6
    )


def resolver_for(owner: str) -> Resolver:
    """`resolve` for the names of one owner, of which only a few are looked up at a time."""
    return partial(resolve, owner=owner)


def resolve(host: str, port: int, *, owner: str = "") -> list[str]:
    """DNS with a deadline of its own: getaddrinfo has none. Raises OSError, at once where too many
    other names of `owner` are still being looked up ("": nobody's, without this bound).
    """
    lookup = _lookup(host, port, owner)
    try:
        found = lookup.result(timeout=RESOLVE_TIMEOUT_SECONDS)
    except FutureTimeout as error:
        raise OSError(f"{host} was not resolved within {RESOLVE_TIMEOUT_SECONDS:g} s") from error
    return [str(entry[4][0]) for entry in found]


def _lookup(host: str, port: int, owner: str) -> Future[list[Any]]:
    """The lookup that is under way for this name, or a new one. Raises OSError."""
    key = host, port
    with _lookups_lock:
        running = _lookups.get(key)
        if running is not None:
            return running
        if owner and _lookups_by_owner[owner] >= LOOKUPS_PER_OWNER:
            raise OSError(f"{LOOKUPS_PER_OWNER} other names of yours have had no answer yet")
        begun = _resolving.submit(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        _lookups[key] = begun
        _lookups_by_owner[owner] += 1
    # Outside the lock, which it takes, at once where the answer is there already.
    begun.add_done_callback(partial(_forget, key, owner))
    return begun


def _forget(key: tuple[str, int], owner: str, _ended: Future[list[Any]]) -> None:
    with _lookups_lock:
        del _lookups[key]
        _lookups_by_owner[owner] -= 1
        if not _lookups_by_owner[owner]:
            del _lookups_by_owner[owner]


def _judge_port(port: int, *, livemode: bool) -> None:
    ports = LIVE_PORTS if livemode else TEST_PORTS
    if port not in ports:
        raise DestinationRefused(
            "port", f"Use one of the ports {', '.join(map(str, sorted(ports)))}."
        )


def _judge_host(host: str) -> None:
    literal = _literal(host)
    if literal is not None:
        if not is_public(literal):
            raise DestinationRefused(
                "address_not_public", "This address is not on the public internet."
            )
        return
    if _NUMERIC_HOST.fullmatch(host):
        raise DestinationRefused("host_numeric", "Write an IP address as four decimal numbers.")
    if "." not in host.rstrip(".") or not _HOST_NAME.fullmatch(host.rstrip(".")):
        raise DestinationRefused("host", "Give a full public host name.")


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _resolve(destination: Destination, resolver: Resolver) -> list[Address]:
    literal = _literal(destination.host)
    if literal is not None:
        return [literal]
    try:
        found = resolver(destination.host, destination.port)
        addresses = list(_parsed(found))
    except (OSError, ValueError) as error:
        raise DestinationRefused(
            "host_unresolved", f"{destination.host} does not resolve: {error}"
        ) from error
    if not addresses:
        raise DestinationRefused("host_unresolved", f"{destination.host} has no address.")
    return addresses


def _parsed(found: list[str]) -> Iterator[Address]:
    for text in found:
        yield ipaddress.ip_address(text.partition("%")[0])


def _pair(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
