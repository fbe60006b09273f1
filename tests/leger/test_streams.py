"""Programs that are streamed through, and zstd: nothing is lost, and no failure goes unnoticed."""

from __future__ import annotations

import os
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from leger import processes, zstd
from leger.errors import LegerError

CHUNKS = st.lists(st.binary(max_size=200_000), max_size=5)


def compressed(*chunks: bytes) -> bytes:
    pieces: list[bytes] = []
    with zstd.Compressor(pieces.append) as compressor:
        for chunk in chunks:
            compressor.write(chunk)
    return b"".join(pieces)


@given(CHUNKS, st.integers(1, 5000))
def test_what_is_compressed_comes_back(chunks: list[bytes], size: int) -> None:
    frame = compressed(*chunks)
    pieces = [frame[start : start + size] for start in range(0, len(frame), size)]
    assert b"".join(zstd.decompress(pieces)) == b"".join(chunks)


def test_the_zstd_program_reads_it() -> None:
    content = os.urandom(1_000_000) + b"x" * 1_000_000
    done = subprocess.run(["zstd", "-dc"], input=compressed(content), capture_output=True)
    assert done.stdout == content


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "longer"])
def test_what_is_damaged_is_an_error(damage: str) -> None:
    frame = compressed(os.urandom(400_000))
    damaged = {
        "cut": frame[:-1],
        "changed": frame[:200_000] + bytes([frame[200_000] ^ 1]) + frame[200_001:],
        "empty": b"",
        "longer": frame + b"and more",
    }
    with pytest.raises(zstd.ZstdError):
        list(zstd.decompress([damaged[damage]]))


def test_a_stream_goes_through_whole() -> None:
    content = [os.urandom(70_000) for _ in range(40)]
    got: list[bytes] = []
    done = processes.stream(["cat"], stall=60, chunks=content, sink=got.append)
    assert (done.code, b"".join(got)) == (0, b"".join(content))


def test_a_program_may_read_less_and_its_last_words_are_kept() -> None:
    command = ["sh", "-c", "head -c 3 >/dev/null; echo first >&2; echo last >&2; exit 3"]
    done = processes.stream(command, stall=60, chunks=[b"x" * 1_000_000] * 3)
    assert (done.code, done.message) == (3, "last")


def test_a_program_that_stands_still_is_killed() -> None:
    with pytest.raises(processes.TimedOutError, match=r"nothing moved for 0\.2 s"):
        processes.stream(["sleep", "600"], stall=0.2)
    with pytest.raises(processes.TimedOutError):
        processes.stream(["sh", "-c", "exec >&-; sleep 600"], stall=0.2)


def test_an_error_on_our_side_ends_the_program() -> None:
    def refuse(_: bytes) -> None:
        raise LegerError("no more")

    with pytest.raises(LegerError, match="no more"):
        processes.stream(["yes"], stall=60, sink=refuse)
    with pytest.raises(LegerError, match="cannot be run"):
        processes.stream(["/nonexistent"], stall=60)
