"""The one door to other programs: a list of arguments, a time limit, no shell."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

from leger.errors import LegerError

_CHUNK = 1 << 18
_SAID = 64 << 10


@dataclass(frozen=True)
class Completed:
    """How a program ended: `code` is negative for a signal; the outputs are whole."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def message(self) -> str:
        """The last line that the program wrote to stderr, for an error of ours."""
        lines = self.stderr.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {self.code}"


class TimedOutError(LegerError):
    """A program did not end within its time limit and was killed with its children."""


def run(
    command: Sequence[str],
    *,
    timeout: float,
    data: bytes = b"",
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Completed:
    """Run `command` to its end, at most `timeout` seconds; `data` (a secret, say) is its stdin.

    The program gets a process group of its own, which is killed as a whole at the limit.
    Raises TimedOutError, and LegerError when it cannot be started.
    """
    try:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=None if environment is None else dict(environment),
            cwd=folder,
            start_new_session=True,
        )
    except OSError as error:
        raise LegerError(f"{command[0]}: cannot be run: {error.strerror}") from error
    try:
        stdout, stderr = process.communicate(data, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise TimedOutError(f"{command[0]}: no end after {timeout:g} s, killed") from error
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return Completed(process.returncode, stdout, stderr)


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
        _pump(process, iter(chunks), sink, stall)
        try:
            code = process.wait(stall)
        except subprocess.TimeoutExpired as error:
            raise _stalled(command[0], stall) from error
        said.seek(max(0, said.seek(0, os.SEEK_END) - _SAID))
        return Completed(code, b"", said.read())


@contextlib.contextmanager
def _started(command: Sequence[str], said: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            start_new_session=True,
        )
    except OSError as error:
        raise LegerError(f"{command[0]}: cannot be run: {error.strerror}") from error
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        process.wait()


def _pump(
    process: subprocess.Popen[bytes],
    chunks: Iterator[bytes],
    sink: Callable[[bytes], object] | None,
    stall: float,
) -> None:
    """Feed and read until the program has closed its stdout and taken or refused all input."""
    assert process.stdin is not None
    assert process.stdout is not None
    os.set_blocking(process.stdin.fileno(), False)
    rest = _next(chunks)
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdin, selectors.EVENT_WRITE)
        ready.register(process.stdout, selectors.EVENT_READ)
        while ready.get_map():
            events = ready.select(stall)
            if not events:
                raise _stalled(str(process.args[0]), stall)  # type: ignore[index]
            for key, _ in events:
                if key.fileobj is process.stdout:
                    piece = os.read(key.fd, _CHUNK)
                    is_over = not piece
                    if piece and sink is not None:
                        sink(piece)
                else:
                    rest = _fed(key.fd, rest, chunks)
                    is_over = not rest
                if is_over:
                    ready.unregister(key.fileobj)
                    if key.fileobj is process.stdin:
                        process.stdin.close()


def _fed(pipe: int, rest: memoryview, chunks: Iterator[bytes]) -> memoryview:
    """Write what the pipe takes of `rest`; what is to be written next, empty at the end."""
    try:
        rest = rest[os.write(pipe, rest) :]
    except BrokenPipeError:
        return memoryview(b"")
    return rest or _next(chunks)


def _next(chunks: Iterator[bytes]) -> memoryview:
    return memoryview(next((chunk for chunk in chunks if chunk), b""))


def _stalled(program: str, seconds: float) -> TimedOutError:
    return TimedOutError(f"{program}: nothing moved for {seconds:g} s, killed")


def become(command: Sequence[str]) -> NoReturn:
    """Go on as `command`, with this terminal; LegerError when it cannot be started."""
    try:
        os.execvp(command[0], list(command))  # noqa: S606 - that is what it is for
    except OSError as error:
        raise LegerError(f"{command[0]}: cannot be run: {error.strerror}") from error
