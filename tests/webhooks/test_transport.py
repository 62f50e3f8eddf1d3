"""One request to a merchant: pinned, never redirected, over in time, answers kept short."""

from __future__ import annotations

import datetime
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pytest_django import Settings

from tests.webhooks.receiver import Receiver, drip, drip_body, flood, receiving
from webhooks import transport


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Receiver]:
    with receiving(0) as server:
        settings.FLORIN_WEBHOOK_ALLOWED_HOSTS = [f"127.0.0.1:{server.port}"]
        yield server


def post(url: str, **options: object) -> transport.Answer:
    return transport.post(
        url=url,
        livemode=False,
        headers={"X-One": "1"},
        body=b"{}",
        **options,  # type: ignore[arg-type]
    )


def test_a_request_arrives_as_it_was_sent_and_its_answer_is_kept(receiver: Receiver) -> None:
    answer = post(receiver.url + "?a=b")
    (request,) = receiver.requests
    assert (request.path, request.body, request.headers["x-one"]) == ("/hook?a=b", b"{}", "1")
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert (answer.status, answer.body, answer.error) == (200, "ok", "")
    assert (answer.succeeded, answer.address) == (True, "127.0.0.1")


def test_a_redirect_is_a_failure_and_is_not_followed(receiver: Receiver) -> None:
    receiver.answer = (302, {"Location": receiver.url + "/elsewhere"}, b"")
    answer = post(receiver.url)
    assert (answer.succeeded, answer.status, len(receiver.requests)) == (False, 302, 1)
    assert "redirects are not followed" in answer.error


def test_an_error_status_is_a_failure_with_its_retry_after(receiver: Receiver) -> None:
    receiver.answer = (503, {"Retry-After": "120"}, b"busy")
    answer = post(receiver.url)
    assert (answer.succeeded, answer.retry_after, answer.error) == (False, "120", "status 503")


def test_a_server_that_drips_bytes_is_cut_off_at_the_deadline(receiver: Receiver) -> None:
    receiver.answer = drip
    started = time.monotonic()
    answer = post(receiver.url, deadline_seconds=0.5)
    assert time.monotonic() - started < 20  # it would drip for minutes
    assert (answer.status, answer.error) == (None, "no complete answer within 0.5 s")


def test_a_body_that_drips_is_cut_off_and_the_status_counts(receiver: Receiver) -> None:
    receiver.answer = drip_body
    started = time.monotonic()
    answer = post(receiver.url, deadline_seconds=1.5)
    assert time.monotonic() - started < 20
    assert answer.succeeded


def test_a_server_that_never_answers_is_cut_off_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        from django.test import override_settings

        with override_settings(FLORIN_WEBHOOK_ALLOWED_HOSTS=[f"127.0.0.1:{port}"]):
            started = time.monotonic()
            answer = post(f"http://127.0.0.1:{port}/", deadline_seconds=0.4)
    assert time.monotonic() - started < 20
    assert answer.status is None


def test_an_endless_body_is_read_up_to_the_cap_and_the_status_counts(receiver: Receiver) -> None:
    receiver.answer = flood
    answer = post(receiver.url, deadline_seconds=5)
    assert answer.succeeded
    assert len(answer.body) == transport.RESPONSE_BODY_CAP_BYTES


def test_bytes_that_are_no_text_can_be_stored(receiver: Receiver) -> None:
    receiver.answer = (400, {}, b"\xff\x00nul")
    assert post(receiver.url).body == "\ufffd\ufffdnul"


def test_a_closed_port_is_an_answer_not_an_exception(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    settings.FLORIN_WEBHOOK_ALLOWED_HOSTS = [f"127.0.0.1:{port}"]
    answer = post(f"http://127.0.0.1:{port}/")
    assert answer.status is None
    assert "refused" in answer.error


def test_nonsense_instead_of_http_is_an_answer_not_an_exception(receiver: Receiver) -> None:
    receiver.answer = lambda handler: handler.wfile.write(b"SSH-2.0-OpenSSH\r\n\r\n") and None  # type: ignore[assignment]
    answer = post(receiver.url, deadline_seconds=2)
    assert answer.status is None
    assert answer.error


def test_nonsense_with_a_nul_in_it_can_be_stored(receiver: Receiver) -> None:
    receiver.answer = lambda handler: handler.wfile.write(b"no \x00 HTTP\r\n\r\n") and None  # type: ignore[assignment]
    answer = post(receiver.url, deadline_seconds=2)
    assert answer.status is None
    assert "no \ufffd HTTP" in answer.error


def test_an_error_that_quotes_a_nul_or_a_long_line_can_be_stored(receiver: Receiver) -> None:
    noise = b"\x00SSH" + b"a" * 3000 + b"\r\n\r\n"
    receiver.answer = lambda handler: handler.wfile.write(noise) and None  # type: ignore[assignment]
    answer = post(receiver.url, deadline_seconds=2)
    assert (answer.status, "\x00" in answer.error) == (None, False)
    assert 0 < len(answer.error) <= transport.ERROR_CAP_CHARACTERS


def test_a_proxy_of_the_environment_is_not_asked(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving(0) as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", "")
        assert post(receiver.url).succeeded
        refused = post("http://10.0.0.1/")
        assert (len(receiver.requests), proxy.requests) == (1, [])
    assert refused.error.startswith("refused (address_not_public)")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_inside_is_followed_by_nobody(receiver: Receiver, status: int) -> None:
    with receiving(0) as inside:
        receiver.answer = (status, {"Location": inside.url}, b"")
        assert post(receiver.url).status == status
        assert inside.requests == []


def test_each_request_asks_the_name_again_and_goes_to_what_was_judged(
    receiver: Receiver, settings: Settings
) -> None:
    host = f"hooks.example.com:{receiver.port}"
    settings.FLORIN_WEBHOOK_ALLOWED_HOSTS = [host]
    asked: list[str] = []

    def resolver(name: str, port: int) -> list[str]:
        asked.append(name)
        return ["127.0.0.1"]

    assert post(f"http://{host}/hook", resolver=resolver).succeeded
    settings.FLORIN_WEBHOOK_ALLOWED_HOSTS = []
    turned = transport.post(
        url="http://hooks.example.com/", livemode=False, headers={}, body=b"", resolver=resolver
    )
    assert turned.error.startswith("refused (address_not_public)")
    assert (asked, len(receiver.requests)) == (["hooks.example.com"] * 2, 1)


@pytest.mark.parametrize("url", ["http://10.0.0.1/", "http://127.0.0.1:1/", "not a url"])
def test_a_refused_destination_gets_no_connection(url: str) -> None:
    answer = post(url)
    assert answer.status is None
    assert answer.error.startswith("refused (")


def test_a_name_that_was_public_when_saved_and_is_private_now_gets_no_connection() -> None:
    answer = transport.post(
        url="https://hooks.example.com/",
        livemode=True,
        headers={},
        body=b"{}",
        resolver=lambda *_: ["127.0.0.1"],
    )
    assert answer.error.startswith("refused (address_not_public)")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate and key of hooks.example.com, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hooks.example.com")])
    moment = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - datetime.timedelta(days=1))
        .not_valid_after(moment + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.example.com")]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.mark.parametrize(
    ("host", "trusted", "succeeds"),
    [
        ("hooks.example.com", True, True),
        ("other.example.com", True, False),
        ("hooks.example.com", False, False),
    ],
    ids=["right name", "another name", "unknown authority"],
)
def test_tls_proves_the_name_although_the_address_is_pinned(
    host: str, trusted: bool, succeeds: bool, certificate: Path, settings: Settings
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with receiving(0, tls=tls) as server:
        settings.FLORIN_WEBHOOK_ALLOWED_HOSTS = [f"{host}:{server.port}"]
        answer = transport.post(
            url=f"https://{host}:{server.port}/hook",
            livemode=True,
            headers={},
            body=b"{}",
            resolver=lambda *_: ["127.0.0.1"],
            ca_file=str(certificate) if trusted else None,
        )
        assert answer.succeeded is succeeds
        if succeeds:
            assert server.requests[0].headers["host"] == f"{host}:{server.port}"
        else:
            assert server.requests == []
