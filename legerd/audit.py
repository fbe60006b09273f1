"""The audit log: setec's lines, on the disk before the answer; what cannot be recorded is refused.

Callers that wait together share one write and one fdatasync: the first of them does it for all.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from legerd import log, wire
from legerd.errors import LegerdError, StoreCorrupt
from legerd.identity import Principal

MAX_BYTES = 64 << 20
KEEP = 16
_TORN_BYTES = 1 << 20


@dataclass(frozen=True)
class Entry:
    """One decision: who wanted to do what with which secret, and whether that was allowed."""

    principal: Principal
    action: str
    authorized: bool
    secret: str = ""
    version: int = 0


class AuditUnavailable(LegerdError):  # noqa: N818
    """What was decided cannot be recorded, so it must not happen."""


class Promise:
    """Entries whose answer waits for them elsewhere than in its thread; see AuditLog.promising."""

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit
        self.entries: list[Entry] = []

    def then(self, done: Callable[[bool], None]) -> None:
        """Call `done` once, in the log's own thread: true if all entries are durable now."""
        self._audit.begin(self.entries, done)


class _Batch:
    """What is written together; `done` is set when `failure` is final."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.told: list[Callable[[bool], None]] = []
        self.done = False
        self.failure = False


class AuditLog:
    """Appends to `path` (0600), rotating at `limit` bytes to at most `keep` older files.

    Counts since its start: `lines` that were taken, `syncs` that made them durable, `failures`.
    """

    def __init__(self, path: Path, *, limit: int = MAX_BYTES, keep: int = KEEP) -> None:
        self._path = path
        self._limit = limit
        self._keep = keep
        self._changed = threading.Condition()
        self._called = threading.Condition(self._changed._lock)  # type: ignore[attr-defined]
        self._promise = threading.local()
        self._writer: threading.Thread | None = None
        self._closed = False
        self._waiting = _Batch()
        self._busy = False
        self._reopen = False
        self._trouble = ""
        self._end = 0
        self._descriptor = -1
        self.lines = self.syncs = self.failures = 0
        try:
            self._open(cut=True)
        except OSError as error:
            raise StoreCorrupt(
                f"{path}: cannot be opened: {error.strerror}",
                hint="give the folder to legerd's user and make room",
            ) from error

    def record(self, entries: Sequence[Entry]) -> None:
        """Return when every entry is durable; AuditUnavailable if that cannot be."""
        if not entries:
            return
        promise = getattr(self._promise, "now", None)
        if promise is not None:
            promise.entries += entries
            return
        lines = [_line(entry) for entry in entries]
        with self._changed:
            batch = self._waiting
            batch.lines += lines
            while self._busy and not batch.done:
                self._changed.wait()
            if not batch.done:
                self._busy = True
                self._waiting = _Batch()
        if not batch.done:
            self._lead(batch)
        if batch.failure:
            raise AuditUnavailable("the audit log cannot be written")

    @contextlib.contextmanager
    def promising(self) -> Iterator[Promise]:
        """What this thread records in here is only collected; the answer waits for the promise.

        For calls that change nothing: they may be answered as soon as their entries are durable.
        """
        promise = self._promise.now = Promise(self)
        try:
            yield promise
        finally:
            self._promise.now = None

    def begin(self, entries: Sequence[Entry], done: Callable[[bool], None]) -> None:
        """Record `entries` in the log's own thread, which then calls `done`."""
        lines = [_line(entry) for entry in entries]
        with self._changed:
            self._waiting.lines += lines
            self._waiting.told.append(done)
            if self._writer is None:
                self._writer = threading.Thread(target=self._run, name="legerd-audit", daemon=True)
                self._writer.start()
            elif not self._busy:
                self._called.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while (self._busy or not self._waiting.told) and not self._closed:
                    self._called.wait()
                if self._closed:
                    return
                batch, self._waiting = self._waiting, _Batch()
                self._busy = True
            try:
                self._lead(batch)
            except Exception as error:  # noqa: BLE001 - all were told; who comes next needs a writer
                log.error(f"{self._path}: {type(error).__name__}: calls were refused")

    def reopen(self) -> None:
        """Before the next line, open `path` anew: somebody has renamed it. Safe in a handler."""
        self._reopen = True

    def close(self) -> None:
        """Close the file; every line that was promised is already durable."""
        with self._changed:
            while self._busy:
                self._changed.wait()
            self._closed = True
            self._called.notify_all()
            self._drop()

    def _lead(self, batch: _Batch) -> None:
        failure = True
        try:
            self._write(b"".join(batch.lines))
            failure = False
            self.lines += len(batch.lines)
            self.syncs += 1
            self._tell("")
        except OSError as error:
            self.failures += 1
            self._drop()
            self._tell(error.strerror or type(error).__name__)
        finally:
            with self._changed:
                batch.failure, batch.done = failure, True
                self._busy = False
                self._changed.notify_all()
                self._called.notify()
            _tell_all(batch.told, not failure)

    def _tell(self, trouble: str) -> None:
        """Say once what the trouble is, and once that it is over."""
        if trouble == self._trouble:
            return
        self._trouble = trouble
        if trouble:
            log.error(f"{self._path}: {trouble}: calls are refused until it can be written")
        else:
            log.note(f"{self._path}: can be written again")

    def _write(self, data: bytes) -> None:
        if self._descriptor < 0 or self._reopen:
            self._renew()
        if self._end and self._end + len(data) > self._limit:
            self._rotate()
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
        os.fdatasync(self._descriptor)
        self._end += len(data)

    def _renew(self) -> None:
        """Open again after a failure (cutting back what was not promised) or a rename."""
        broken = self._descriptor < 0
        self._reopen = False
        end = self._end
        self._drop()
        self._open(cut=False)
        if broken and self._end > end:
            self._truncate(end)

    def _open(self, *, cut: bool) -> None:
        fresh = not self._path.exists()
        self._descriptor = os.open(
            self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        self._end = os.fstat(self._descriptor).st_size
        if fresh:
            self._sync_folder()
        if cut and (good := good_end(self._descriptor)) < self._end:
            log.warning(f"{self._path}: cut {self._end - good} bytes that were never promised")
            self._truncate(good)
        if cut:
            self._blank(torn(self._descriptor, self._end))

    def _blank(self, places: Sequence[tuple[int, int]]) -> None:
        """Make spaces of each torn line: they lead the next one, of which nothing is lost."""
        if not places:
            return
        log.warning(f"{self._path}: blanked {len(places)} torn lines that were never promised")
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            for start, end in places:
                os.pwrite(descriptor, b" " * (end - start), start)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _truncate(self, end: int) -> None:
        os.ftruncate(self._descriptor, end)
        os.fsync(self._descriptor)
        self._end = end

    def _drop(self) -> None:
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
        self._descriptor = -1

    def _rotate(self) -> None:
        """Move `path` aside as .1, .1 as .2 and so on; every line in it is durable already."""
        for number in range(self._keep, 0, -1):
            older = self._older(number)
            with contextlib.suppress(FileNotFoundError):
                older.replace(self._older(number + 1)) if number < self._keep else older.unlink()
        if self._keep:
            self._path.replace(self._older(1))
        else:
            self._path.unlink()
        self._drop()
        self._end = 0
        self._open(cut=False)

    def _older(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _sync_folder(self) -> None:
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _tell_all(told: Sequence[Callable[[bool], None]], recorded: bool) -> None:
    for done in told:
        try:
            done(recorded)
        except Exception as error:  # noqa: BLE001 - the others wait for their answers, too
            log.error(f"an answer failed: {type(error).__name__}")


def good_end(descriptor: int) -> int:
    """Where the last whole line of an audit file ends (bytes); what follows was never promised."""
    size = os.fstat(descriptor).st_size
    if not size:
        return 0
    with mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) as data:
        end = data.rfind(b"\n") + 1
        while end:
            start = data.rfind(b"\n", 0, end - 1) + 1
            if parses(data[start:end]):
                return end
            end = start
    return 0


def torn(descriptor: int, size: int) -> list[tuple[int, int]]:
    """Where, near the end of a file of `size` bytes, lines (with their newline) do not parse.

    A cut can lose an early page of the last write and keep a later one.
    """
    start = max(0, size - _TORN_BYTES)
    data = os.pread(descriptor, size - start, start)
    places = []
    place = start + (data.find(b"\n") + 1 if start else 0)
    for line in data[place - start :].split(b"\n")[:-1]:
        end = place + len(line) + 1
        if not parses(line):
            places.append((place, end))
        place = end
    return places


def parses(line: bytes) -> bool:
    """Whether `line` is one JSON object."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _line(entry: Entry) -> bytes:
    number = random.getrandbits(64)
    authorized = "true" if entry.authorized else "false"
    secret = f',"secret":{wire.text(entry.secret)}' if entry.secret else ""
    version = f',"secretVersion":{entry.version}' if entry.version else ""
    return (
        f'{{"id":{number},"time":"{_now()}","principal":{entry.principal.json},'
        f'"action":{wire.text(entry.action)},"authorized":{authorized}{secret}{version}}}\n'
    ).encode()


def _now() -> str:
    """The time as Go's RFC3339Nano writes it: trailing zeros of the fraction are left out."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    fraction = f".{nanoseconds:09d}".rstrip("0").rstrip(".")
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + fraction + "Z"
