"""The ciphers against the published vectors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legerd import crypto

# draft-irtf-cfrg-xchacha-03, appendix A.3.1
PLAINTEXT = (
    b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
    b"sunscreen would be it."
)
ASSOCIATED = bytes.fromhex("50515253c0c1c2c3c4c5c6c7")
KEY = bytes(range(0x80, 0xA0))
NONCE = bytes(range(0x40, 0x58))
CIPHERTEXT = bytes.fromhex(
    "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e39"
    "ae64c6708c54c216cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9"
    "21f9664c97637da9768812f615c68b13b52e"
)
TAG = bytes.fromhex("c0875924c1c7987947deafd8780acf49")


def test_hchacha20_gives_the_subkey_of_section_2_2_1():
    nonce = bytes.fromhex("000000090000004a0000000031415927")
    assert crypto.hchacha20(bytes(range(32)), nonce).hex() == (
        "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc"
    )


def test_xchacha20_poly1305_gives_the_ciphertext_of_appendix_a_3_1():
    assert crypto.encrypt(KEY, NONCE, PLAINTEXT, ASSOCIATED) == CIPHERTEXT + TAG
    assert crypto.unseal(KEY, NONCE + CIPHERTEXT + TAG, ASSOCIATED) == PLAINTEXT


def test_hkdf_gives_the_key_of_rfc_5869_case_3():
    derived = crypto.derive(bytes([0x0B] * 22), "", length=42)
    assert derived.hex() == (
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    )


def test_x25519_gives_the_shared_secret_of_rfc_7748():
    bob = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
    alice = bytes.fromhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    assert crypto.public_half(bob).hex() == (
        "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    )
    assert crypto.agree(bob, alice).hex() == (
        "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
    )


def test_x25519_refuses_a_public_key_of_low_order():
    with pytest.raises(crypto.ForgeryError):
        crypto.agree(crypto.random_key(), bytes(32))


@given(data=st.binary(max_size=300), associated=st.binary(max_size=40))
def test_what_was_sealed_opens_and_never_repeats(data: bytes, associated: bytes):
    one, two = crypto.seal(KEY, data, associated), crypto.seal(KEY, data, associated)
    assert crypto.unseal(KEY, one, associated) == data
    assert one[:24] != two[:24]
    assert len(one) == len(data) + crypto.OVERHEAD


@given(data=st.binary(max_size=100), bit=st.integers(min_value=0))
def test_one_flipped_bit_does_not_open(data: bytes, bit: int):
    box = bytearray(crypto.seal(KEY, data, ASSOCIATED))
    bit %= len(box) * 8
    box[bit // 8] ^= 1 << bit % 8
    with pytest.raises(crypto.ForgeryError):
        crypto.unseal(KEY, bytes(box), ASSOCIATED)


@pytest.mark.parametrize("length", [0, 1, 39])
def test_what_is_too_short_does_not_open(length: int):
    with pytest.raises(crypto.ForgeryError):
        crypto.unseal(KEY, bytes(length), b"")
