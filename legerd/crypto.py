"""XChaCha20-Poly1305, HKDF-SHA256 and X25519: the only importer of `cryptography`.

XChaCha20-Poly1305 is that of draft-irtf-cfrg-xchacha-03, made of two parts that `cryptography`
has: HChaCha20, which is one block of ChaCha20 with its input subtracted again, derives a key from
the first 16 bytes of the nonce; ChaCha20-Poly1305 takes that key and the other 8.
"""

from __future__ import annotations

import os
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
NONCE_BYTES = 24
TAG_BYTES = 16
OVERHEAD = NONCE_BYTES + TAG_BYTES

_WORDS = struct.Struct("<4I")
_CONSTANTS = _WORDS.unpack(b"expand 32-byte k")
_ZEROS = bytes(64)
_PREFIX = bytes(4)
_MASK = 0xFFFFFFFF


class ForgeryError(Exception):
    """Ciphertext, associated data and key do not belong together."""


def random_key() -> bytes:
    """32 bytes from the kernel."""
    return os.urandom(KEY_BYTES)


def hchacha20(key: bytes, nonce: bytes) -> bytes:
    """The subkey (32 bytes) of a key (32 bytes) and the first 16 bytes of an XChaCha20 nonce."""
    block = Cipher(ChaCha20(key, nonce), mode=None).encryptor().update(_ZEROS)
    a, b, c, d = _WORDS.unpack_from(block)
    e, f, g, h = _WORDS.unpack_from(block, 48)
    p, q, r, s = _CONSTANTS
    t, u, v, w = _WORDS.unpack(nonce)
    first = _WORDS.pack(a - p & _MASK, b - q & _MASK, c - r & _MASK, d - s & _MASK)
    return first + _WORDS.pack(e - t & _MASK, f - u & _MASK, g - v & _MASK, h - w & _MASK)


def encrypt(key: bytes, nonce: bytes, data: bytes, associated: bytes) -> bytes:
    """XChaCha20-Poly1305 under a nonce of 24 bytes: ciphertext and tag. Use `seal` but in tests."""
    cipher = ChaCha20Poly1305(hchacha20(key, nonce[:16]))
    return cipher.encrypt(_PREFIX + nonce[16:], data, associated)


def seal(key: bytes, data: bytes, associated: bytes) -> bytes:
    """`data` under a fresh random nonce: nonce (24 bytes), ciphertext, tag (16 bytes)."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + encrypt(key, nonce, data, associated)


def unseal(key: bytes, box: bytes, associated: bytes) -> bytes:
    """The data that `seal` got; ForgeryError if key, box and associated data do not match."""
    if len(box) < OVERHEAD:
        raise ForgeryError("too short")
    cipher = ChaCha20Poly1305(hchacha20(key, box[:16]))
    try:
        return cipher.decrypt(_PREFIX + box[16:NONCE_BYTES], box[NONCE_BYTES:], associated)
    except InvalidTag:
        raise ForgeryError("does not authenticate") from None


def derive(key: bytes, purpose: str, salt: bytes = b"", length: int = KEY_BYTES) -> bytes:
    """HKDF-SHA256 (RFC 5869) of `key`, with `purpose` as info."""
    return HKDF(SHA256(), length, salt or None, purpose.encode()).derive(key)


def public_half(private: bytes) -> bytes:
    """The X25519 public key (32 bytes) of a private one."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def agree(private: bytes, public: bytes) -> bytes:
    """The X25519 shared secret; ForgeryError for a public key of low order."""
    theirs = X25519PublicKey.from_public_bytes(public)
    try:
        return X25519PrivateKey.from_private_bytes(private).exchange(theirs)
    except ValueError:
        raise ForgeryError("not a usable public key") from None
