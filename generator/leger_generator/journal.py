"""Where a generator can speak: /dev/kmsg, else stderr, which systemd passes on; one line each."""

import posix

ERROR, WARNING, INFO = 3, 4, 6
_MAX_LINE = 800
_MAX_LINES = 20


class Journal:
    """Says what happened; `problems` keeps what was not only information, for the note in /run."""

    __slots__ = ("_device", "problems")

    def __init__(self, device: str = "/dev/kmsg") -> None:
        self._device = device
        self.problems: list[str] = []

    def say(self, message: str, priority: int = WARNING) -> None:
        """One line with `priority` (syslog's numbers); after 20 lines it only counts."""
        if priority < INFO:
            self.problems.append(message)
        if len(self.problems) <= _MAX_LINES:
            self._write(message, priority)

    def close(self) -> None:
        """Say how many lines were left unsaid, if any."""
        more = len(self.problems) - _MAX_LINES
        if more > 0:
            self._write(f"and {more} more problems: see emitted.json", WARNING)

    def _write(self, message: str, priority: int) -> None:
        text = "".join(letter if letter.isprintable() else "?" for letter in message[:_MAX_LINE])
        line = f"<{priority}>leger-generator: {text}\n".encode(errors="replace")
        try:
            descriptor = posix.open(self._device, posix.O_WRONLY | posix.O_CLOEXEC | posix.O_NOCTTY)
        except OSError:
            descriptor = 2
        try:
            posix.write(descriptor, line)
        except OSError:
            _to_stderr(line, descriptor)
        finally:
            if descriptor != 2:
                posix.close(descriptor)


def _to_stderr(line: bytes, tried: int) -> None:
    if tried == 2:
        return
    try:
        posix.write(2, line)
    except OSError:
        return
