"""Secrets at rest: AES-256-GCM with a ring of keys, bound to the place they are kept in.

A *token* is what is stored: version byte 1, length and text of the key's id, 12 random bytes of
nonce, ciphertext with its 16-byte tag. The key's id and the *context* ("app.model.field:primary
key") are authenticated with it, so a token copied to another row, column or key does not decrypt.
settings.FLORIN_ENCRYPTION_KEYS is the ring, "id:base64 of 32 random bytes" each: the first
encrypts, all decrypt. To rotate, put a new key in front and run `manage.py rotate_encryption`.
From each key, independent subkeys are derived per purpose (HKDF-SHA256), so a blind index never
uses the key that encrypts. Everything fails closed: what cannot be decrypted raises.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

_VERSION = 1
_KEY_BYTES = 32
_NONCE_BYTES = 12
_TAG_BYTES = 16


class DecryptionFailed(Exception):
    """The token is damaged, belongs elsewhere, or its key is not in the ring."""


def encrypt(plaintext: str | bytes, *, context: str) -> bytes:
    """The token of `plaintext` (text is encoded as UTF-8); differs at every call.

    `context` names the place it will be kept in, "app.model.field:primary key"; the same text is
    needed to decrypt. Raises ValueError for an empty context, ImproperlyConfigured without keys.
    """
    key_id, secret = _key_ring()[0]
    nonce = os.urandom(_NONCE_BYTES)
    clear = plaintext.encode() if isinstance(plaintext, str) else plaintext
    header = token_header(key_id)
    return header + nonce + _cipher(secret).encrypt(nonce, clear, _bound_to(header, context))


def decrypt(token: bytes, *, context: str) -> bytes:
    """The plaintext of a token that was encrypted for the same `context`.

    Raises DecryptionFailed in every other case; never returns anything else.
    """
    if len(token) < 2 or token[0] != _VERSION:
        raise DecryptionFailed("this is not an encrypted value of a known version")
    header, rest = token[: 2 + token[1]], token[2 + token[1] :]
    if len(rest) < _NONCE_BYTES + _TAG_BYTES:
        raise DecryptionFailed("the encrypted value is cut off")
    secret = {token_header(key_id): secret for key_id, secret in _key_ring()}.get(header)
    if secret is None:
        raise DecryptionFailed(
            f"the key {header[2:].decode(errors='replace')!r} is not in FLORIN_ENCRYPTION_KEYS"
        )
    nonce, ciphertext = rest[:_NONCE_BYTES], rest[_NONCE_BYTES:]
    try:
        return _cipher(secret).decrypt(nonce, ciphertext, _bound_to(header, context))
    except InvalidTag:
        raise DecryptionFailed(
            f"the encrypted value does not belong to {context!r}, was changed, or was written "
            "with another key of the same id"
        ) from None


def blind_index(value: str | bytes, *, purpose: str) -> str:
    """A keyed fingerprint (64 hexadecimal digits), to find an encrypted value by equality.

    `purpose` separates columns: equal values in two of them have different fingerprints. The
    caller normalises the value first. It changes when the first key of the ring changes.
    """
    return blind_index_candidates(value, purpose=purpose)[0]


def blind_index_candidates(value: str | bytes, *, purpose: str) -> list[str]:
    """The fingerprints under every key of the ring, to look up what an earlier key has written."""
    if not purpose:
        raise ValueError("a blind index needs a purpose")
    data = value.encode() if isinstance(value, str) else value
    return [
        hmac.digest(_subkey(secret, f"blind-index:{purpose}"), data, "sha256").hex()
        for _key_id, secret in _key_ring()
    ]


def token_header(key_id: str) -> bytes:
    """What every token of this key begins with."""
    encoded = key_id.encode()
    return bytes([_VERSION, len(encoded)]) + encoded


def first_key_id() -> str:
    """The id of the key that encrypts now."""
    return _key_ring()[0][0]


def _bound_to(header: bytes, context: str) -> bytes:
    if not context:
        raise ValueError("an encrypted value needs the context it is bound to")
    return b"florin-encryption\0" + header + b"\0" + context.encode()


def _key_ring() -> list[tuple[str, bytes]]:
    return _parsed_keys(tuple(settings.FLORIN_ENCRYPTION_KEYS))


@lru_cache(maxsize=8)
def _parsed_keys(entries: tuple[str, ...]) -> list[tuple[str, bytes]]:
    ring: dict[str, bytes] = {}
    for entry in entries:
        key_id, _, encoded = entry.strip().partition(":")
        try:
            secret = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            secret = b""
        if not 0 < len(key_id.encode()) < 64 or len(secret) != _KEY_BYTES or key_id in ring:
            raise ImproperlyConfigured(
                "FLORIN_ENCRYPTION_KEYS must be a list of id:base64 with different short ids and "
                f"{_KEY_BYTES} random bytes each; the entry of id {key_id[:63]!r} is not"
            )
        ring[key_id] = secret
    if not ring:
        raise ImproperlyConfigured("FLORIN_ENCRYPTION_KEYS is empty: nothing can be encrypted")
    return list(ring.items())


@lru_cache(maxsize=64)
def _subkey(secret: bytes, purpose: str) -> bytes:
    derived = HKDF(
        algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=b"florin:" + purpose.encode()
    )
    return derived.derive(secret)


@lru_cache(maxsize=8)
def _cipher(secret: bytes) -> AESGCM:
    return AESGCM(_subkey(secret, "encryption"))


@dataclass(frozen=True, slots=True)
class EncryptedColumn:
    """A BinaryField that holds tokens: its model's label, its column, its name in contexts; and
    where it has one, the column of its blind index and what makes that of the value in clear.
    """

    model_label: str
    column: str
    name: str
    index_column: str = ""
    index: Callable[[str], str] | None = None

    def context(self, primary_key: object) -> str:
        """What binds a token to its row, the form every caller of `encrypt` uses."""
        return f"{self.model_label.lower()}.{self.name}:{primary_key}"


_COLUMNS: dict[tuple[str, str], EncryptedColumn] = {}


def register(
    model_label: str,
    column: str,
    *,
    name: str = "",
    index_column: str = "",
    index: Callable[[str], str] | None = None,
) -> EncryptedColumn:
    """Let `manage.py rotate_encryption` re-encrypt a column; to be called in AppConfig.ready().

    `model_label` is "app.Model". The tokens in it must have been made with the context
    "app.model.name:primary key", where the name is the column's unless another is given. With an
    `index` the blind index in `index_column` is made anew too, so that it outlives its key.
    """
    registered = EncryptedColumn(
        model_label=model_label,
        column=column,
        name=name or column,
        index_column=index_column,
        index=index,
    )
    _COLUMNS[model_label, column] = registered
    return registered


def registered_columns() -> list[EncryptedColumn]:
    """Everything that rotation has to re-encrypt."""
    return list(_COLUMNS.values())
