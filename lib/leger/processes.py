"""The one door to other programs: a list of arguments, a time limit, no shell."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

from leger.errors import LegerError

_CHUNK = 1 << 18
_SAID = 64 << 10
_MOST = 64 << 20
_MESSAGE = 300
_LOOK = 1.0
Sink = Callable[[bytes], object]


@dataclass(frozen=True)
class Completed:
    """How a program ended: `code` is negative for a signal; the outputs are whole."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def message(self) -> str:
        """The last line that the program wrote to stderr, for an error of ours; cut if long."""
        lines = self.stderr.decode(errors="replace").strip().splitlines()
        return lines[-1][:_MESSAGE] if lines else f"exit status {self.code}"


class TimedOutError(LegerError):
    """A program did not end within its time limit and was killed with its children."""


class TooMuchError(LegerError):
    """A program wrote more than it may and was killed with its children."""


def run(
    command: Sequence[str],
    *,
    timeout: float,
    data: bytes = b"",
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    most: int = _MOST,
    watch: Callable[[], object] | None = None,
) -> Completed:
    """Run `command` to its end, at most `timeout` seconds; `data` (a secret, say) is its stdin.

    The program gets a process group of its own, which is killed as a whole at the limit, when it
    writes more than `most` bytes, and when `watch`, which is called once a second, raises.
    Raises TimedOutError, TooMuchError, and LegerError when it cannot be started.
    """
    kept = _Kept(command[0], most)
    end = time.monotonic() + timeout
    with _started(command, subprocess.PIPE, environment, folder) as process:
        try:
            sinks = {process.stdout: kept.take("stdout"), process.stderr: kept.take("stderr")}
            _pump(process, iter([data]), sinks, _until(end, watch))
            code = process.wait(max(0.0, end - time.monotonic()))
        except (_StillError, subprocess.TimeoutExpired) as error:
            raise TimedOutError(f"{command[0]}: no end after {timeout:g} s, killed") from error
    return Completed(code, kept.whole("stdout"), kept.whole("stderr"))


def ahead(command: Sequence[str], *, timeout: float) -> Callable[[], Completed]:
    """As `run`, beside what the caller does until it calls the result, which waits for the end."""
    ended: list[Completed | Exception] = []

    def follow() -> None:
        try:
            ended.append(run(command, timeout=timeout))
        except Exception as error:  # noqa: BLE001 - it is raised where the result is asked for
            ended.append(error)

    def result() -> Completed:
        thread.join()
        if isinstance(ended[0], Exception):
            raise ended[0]
        return ended[0]

    thread = threading.Thread(target=follow)
    thread.start()
    return result


def stream(
    command: Sequence[str],
    *,
    stall: float,
    chunks: Iterable[bytes] = (),
    sink: Callable[[bytes], object] | None = None,
) -> Completed:
    """Run `command` to its end without holding what goes through it in memory.

    `chunks` are fed to its stdin one after another, `sink` is called with each piece of its stdout.
    It is killed with its group when nothing moves for `stall` seconds (TimedOutError), and when
    `chunks` or `sink` raise. `stdout` of the answer is empty, `stderr` the end of what it said.
    Raises LegerError when it cannot be started.
    """
    import tempfile  # nothing that must be quick comes here

    with tempfile.TemporaryFile() as said, _started(command, said) as process:
        try:
            _pump(process, iter(chunks), {process.stdout: sink}, _unless_still(stall))
            code = process.wait(stall)
        except (_StillError, subprocess.TimeoutExpired) as error:
            what = f"nothing moved for {stall:g} s, killed"
            raise TimedOutError(f"{command[0]}: {what}") from error
        said.seek(max(0, said.seek(0, os.SEEK_END) - _SAID))
        return Completed(code, b"", said.read())


class _Kept:
    """What a program writes, as long as it is not more than `most` bytes."""

    def __init__(self, program: str, most: int) -> None:
        self.program, self.most, self.left = program, most, most
        self.pieces: dict[str, list[bytes]] = {"stdout": [], "stderr": []}

    def take(self, stream: str) -> Sink:
        def sink(piece: bytes) -> None:
            self.left -= len(piece)
            if self.left < 0:
                raise TooMuchError(f"{self.program}: wrote more than {self.most >> 20} MiB, killed")
            self.pieces[stream].append(piece)

        return sink

    def whole(self, stream: str) -> bytes:
        return b"".join(self.pieces[stream])


class _StillError(Exception):
    """The time is up."""


def _until(end: float, watch: Callable[[], object] | None) -> Callable[[bool], float]:
    """How long to wait for what comes next: until `end`, and never long without a look."""
    looked = time.monotonic()

    def wait(_moved: bool) -> float:
        nonlocal looked
        now = time.monotonic()
        if now >= end:
            raise _StillError
        if watch is None:
            return end - now
        if now - looked >= _LOOK:
            watch()
            looked = now
        return min(end - now, _LOOK)

    return wait


def _unless_still(stall: float) -> Callable[[bool], float]:
    """How long to wait for what comes next: `stall` seconds each time."""

    def wait(moved: bool) -> float:
        if not moved:
            raise _StillError
        return stall

    return wait


@contextlib.contextmanager
def _started(
    command: Sequence[str],
    said: IO[bytes] | int,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A program with pipes; what has not ended within this context is killed with its group."""
    try:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            env=None if environment is None else dict(environment),
            cwd=folder,
            start_new_session=True,
        )
    except OSError as error:
        raise LegerError(f"{command[0]}: cannot be run: {error.strerror}") from error
    try:
        yield process
    finally:
        # Its number is its own until it is waited for, even if it has ended and only children run.
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        process.wait()


def _pump(
    process: subprocess.Popen[bytes],
    chunks: Iterator[bytes],
    sinks: Mapping[IO[bytes] | None, Sink | None],
    wait: Callable[[bool], float],
) -> None:
    """Feed and read until all `sinks` are closed and the program has taken or refused all input.

    `wait` says for how many seconds at a time, told whether anything moved; it may raise.
    """
    assert process.stdin is not None
    os.set_blocking(process.stdin.fileno(), False)
    rest = _next(chunks)
    moved = True
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdin, selectors.EVENT_WRITE)
        for pipe, sink in sinks.items():
            assert pipe is not None
            ready.register(pipe, selectors.EVENT_READ, sink)
        while ready.get_map():
            events = ready.select(wait(moved))
            moved = bool(events)
            for key, _ in events:
                if key.fileobj is process.stdin:
                    rest = _fed(key.fd, rest, chunks)
                    is_over = not rest
                else:
                    is_over = not _taken(key.fd, key.data)
                if is_over:
                    ready.unregister(key.fileobj)
                    if key.fileobj is process.stdin:
                        process.stdin.close()


def _taken(pipe: int, sink: Sink | None) -> bool:
    """Read a piece and hand it on; whether there was one."""
    piece = os.read(pipe, _CHUNK)
    if piece and sink is not None:
        sink(piece)
    return bool(piece)


def _fed(pipe: int, rest: memoryview, chunks: Iterator[bytes]) -> memoryview:
    """Write what the pipe takes of `rest`; what is to be written next, empty at the end."""
    try:
        rest = rest[os.write(pipe, rest) :]
    except BrokenPipeError:
        return memoryview(b"")
    return rest or _next(chunks)


def _next(chunks: Iterator[bytes]) -> memoryview:
    return memoryview(next((chunk for chunk in chunks if chunk), b""))


def become(command: Sequence[str]) -> NoReturn:
    """Go on as `command`, with this terminal; LegerError when it cannot be started."""
    try:
        os.execvp(command[0], list(command))  # noqa: S606 - that is what it is for
    except OSError as error:
        raise LegerError(f"{command[0]}: cannot be run: {error.strerror}") from error
