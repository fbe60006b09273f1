"""Requests by the thousand, what Go makes of them, and what legerd does: tests/data/wire-corpus.

`python -m tests.legerd.oracle` writes the corpus anew (it needs Go).
"""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from legerd import calls, wire

CORPUS = Path(__file__).parents[1] / "data/wire-corpus"
KINDS = {
    "get": calls.GetRequest,
    "put": calls.PutRequest,
    "create-version": calls.CreateVersionRequest,
    "fetch": calls.FetchRequest,
}
_FIELDS = {
    "get": ("Name", "Version", "UpdateIfChanged"),
    "put": ("Name", "Value"),
    "create-version": ("Name", "Version", "Value"),
    "fetch": ("Key", "Secrets"),
    "item": ("Name", "Version", "Have", "Mac"),
}
_STRINGS = (
    '"a"',
    '""',
    '"prod/db/password"',
    '"\\u00e9<&>\\ud800"',
    '"\\ud83d\\ude00"',
    '"\\ude00\\ud83d"',
    '"\\ud800\\ud800\\udc00"',
    '"\\uD800A"',
    '"\\u12"',
    '"\\x41"',
    '"\\/\\b\\f\\n\\r\\t\\"\\\\"',
    '"\\u0000"',
    '"\x7f"',
    '"\x01"',
    '"\n"',
    '"\xe9\u2028"',
    "'a'",
    '"unended',
    '"\\',
)
_BROKEN = (
    b'"\xff"',
    b'"\xe2\x82"',
    b'"\xe2\x82A"',
    b'"\xc0\x80"',
    b'"\xed\xa0\x80"',
    b'"\xf0\x9f\x98"',
    b'"\xf4\x90\x80\x80"',
    b'"\xf0\x9f\x98\x80"',
    b'"a\x80b\xffc"',
    b'"\xef\xbb\xbf"',
    b'"\\ud800\xed\xb0\x80"',
)
_NUMBERS = (
    "0",
    "1",
    "2",
    "255",
    "256",
    "4294967295",
    "4294967296",
    "-1",
    "-0",
    "1.0",
    "1e0",
    "1E+2",
    "01",
    "+1",
    "0x1",
    ".5",
    "1.",
    "1e",
    "1e999",
    "-",
    "NaN",
    "Infinity",
    "-Infinity",
    "9" * 30,
    "9" * 5000,
    "0" * 3,
)
_BASE64 = (
    '"YQ=="',
    '"YWI="',
    '"YWJj"',
    '"Y\\nQ=="',
    '"YQ\\r\\n=="',
    '"YQ=\\n="',
    '"YQ"',
    '"YQ="',
    '"YQ==="',
    '"===="',
    '"=="',
    '"-_-_"',
    '"+/+/"',
    '"!!"',
    '"YQ==YQ=="',
    '"YR=="',
    '"Y Q=="',
    '"YQ==\\n"',
    '"\\n"',
    '"A"',
    '"AA="',
    '"\\u0059Q=="',
    '"YQ==\\u00e9"',
)
_OTHER = (
    "null",
    "true",
    "false",
    "nul",
    "True",
    "[]",
    "{}",
    "[1,2,255]",
    "[null]",
    "[1,null,3]",
    "[256]",
    "[-1]",
    "[1.0]",
    '["a"]',
    "[[1]]",
    "[1,]",
    "[,1]",
    "{}",
    '{"a":1}',
    "{,}",
    '{"a":1,}',
    "{1:2}",
    "[true]",
)


def generate(rng: random.Random, count: int) -> list[tuple[str, bytes]]:
    """`count` requests, most of them nearly right; and texts to be written."""
    found = []
    for _ in range(count):
        kind = rng.choice([*KINDS, "get", "put"])
        found.append((kind, _damage(rng, _body(rng, kind))))
    for _ in range(count // 10):
        letters = [rng.choice("ab<>&\"\\\n\t\x00\x1f\x7f\u2027\u2028\u2029\ufffd\xe9\U0001f600/'")]
        letters += [chr(rng.choice((rng.randrange(0x80), rng.randrange(0x800, 0xD800))))]
        found.append(("text", "".join(rng.choices(letters, k=rng.randrange(12))).encode()))
    return found


def _body(rng: random.Random, kind: str) -> bytes:
    if rng.random() < 0.06:
        return rng.choice(
            (
                b"",
                b" ",
                b"null",
                b"nullx",
                b"null5",
                b"5",
                b'"a"',
                b"[]",
                b"true",
                b"\xef\xbb\xbf{}",
                '{"Name":"a"}'.encode("utf-16"),
                '{"Name":"a"}'.encode("utf-16-le"),
                b"{",
                b"}",
                b"\x00",
                b"nul",
                b"\x0b{}",
                b"\xa0{}",
                b"{} {}",
                b"{}junk",
                b"{}\xff",
                b"// c\n{}",
                b"NaN",
            )
        )
    return _object(rng, kind)


def _object(rng: random.Random, kind: str) -> bytes:
    members = []
    for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 4))):
        name = rng.choice(_FIELDS[kind])
        value = _value(rng, name)
        members.append(_space(rng) + _key(rng, name) + _space(rng) + b":" + _space(rng) + value)
    return b"{" + b",".join(member + _space(rng) for member in members) + b"}"


def _key(rng: random.Random, name: str) -> bytes:
    choice = rng.random()
    if choice < 0.6:
        key = name
    elif choice < 0.75:
        key = "".join(rng.choice((letter.lower(), letter.upper())) for letter in name)
    elif choice < 0.83:
        folded = {"K": "\u212a", "k": "\u212a", "s": "\u017f", "S": "\u017f"}
        key = "".join(folded.get(letter, letter) for letter in name)
    elif choice < 0.9:
        key = rng.choice(("Foo", "", "name ", "Nam", "N\u00e4me", "\u0130f", "\ufb01"))
    else:
        return b'"' + "".join(f"\\u{ord(letter):04x}" for letter in name).encode() + b'"'
    return json.dumps(key, ensure_ascii=rng.random() < 0.5).encode()


def _value(rng: random.Random, name: str) -> bytes:
    if name == "Secrets" and rng.random() < 0.8:
        items = [
            rng.choice((_object(rng, "item"), _object(rng, "item"), b"null", b"1"))
            for _ in range(rng.randrange(4))
        ]
        return b"[" + b",".join(items) + b"]"
    fitting: Sequence[str | bytes] = {
        "Name": (*_STRINGS, *_BROKEN),
        "Have": (*_STRINGS, *_BROKEN),
        "Version": _NUMBERS,
        "UpdateIfChanged": ("true", "false"),
        "Value": _BASE64,
        "Mac": _BASE64,
        "Key": _BASE64,
    }.get(name, _OTHER)
    anything: Sequence[str | bytes] = (*_STRINGS, *_BROKEN, *_NUMBERS, *_BASE64, *_OTHER)
    value = rng.choice(fitting if rng.random() < 0.7 else anything)
    if rng.random() < 0.02:
        depth = rng.choice((3, 500, 1500, 9996, 9998, 9999, 10000, 10001))
        return b"[" * depth + b"]" * depth if rng.random() < 0.7 else b'{"a":' * depth
    return value if isinstance(value, bytes) else value.encode()


def _space(rng: random.Random) -> bytes:
    return rng.choice((b"", b"", b"", b" ", b"\n\t\r "))


def _damage(rng: random.Random, body: bytes) -> bytes:
    """`body`, one time in six with something wrong."""
    if rng.random() > 0.17 or not body:
        return body
    at = rng.randrange(len(body))
    junk = bytes([rng.choice(b'{}[]",:\\ux0-nN \x00\x0c\x85\xa0\xff')])
    return rng.choice(
        (
            body[:at],
            body[at:],
            body[:at] + junk + body[at:],
            body[:at] + body[at + 1 :],
            body + junk,
        )
    )


def ours(kind: str, body: bytes) -> str:
    """What legerd makes of `body`, in the oracle's words."""
    if kind == "text":
        return wire.text(body.decode()).encode().hex()
    try:
        request = wire.decode(body, KINDS[kind])
    except wire.BadRequestError:
        return "-"
    if isinstance(request, calls.FetchRequest):
        return "|".join([request.Key.hex(), *map(_words, request.Secrets)])
    return _words(request)


def _words(request: object) -> str:
    return " ".join(map(_word, vars(request).values()))


def _word(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    return (value if isinstance(value, bytes) else str(value).encode()).hex()


def go() -> str | None:
    """The go command, if there is one."""
    return shutil.which("go", path=f"{os.environ.get('PATH', '')}:/usr/local/go/bin")


def ask_go(requests: Iterable[tuple[str, bytes]]) -> list[str]:
    """What Go makes of each of `requests`."""
    command = go()
    assert command
    lines = "".join(f"{kind} {body.hex()}\n" for kind, body in requests)
    done = subprocess.run(
        [command, "run", "."],
        cwd=Path(__file__).with_name("go_oracle"),
        input=lines.encode(),
        capture_output=True,
        check=True,
        env={**os.environ, "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local", "GOPROXY": "off"},
    )
    return done.stdout.decode().splitlines()


def read_corpus() -> list[tuple[str, bytes, str]]:
    """Kind, body and Go's answer of every case that is kept."""
    found = []
    for line in CORPUS.read_text().splitlines():
        kind, body, answer = line.split("\t")
        found.append((kind, base64.b64decode(body), answer))
    return found


def write_corpus(count: int = 2400) -> None:
    """Keep `count` fresh cases (long ones left out) with Go's answers."""
    requests = [item for item in generate(random.Random(1), count) if len(item[1]) < 6000]
    answers = ask_go(requests)
    CORPUS.write_text(
        "".join(
            f"{kind}\t{base64.b64encode(body).decode()}\t{answer}\n"
            for (kind, body), answer in zip(requests, answers, strict=True)
        )
    )


if __name__ == "__main__":
    write_corpus()
