"""Waiting for a child process with a deadline, without the modules that cost start-up time."""

import posix
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
else:
    import _signal


def hold_signal() -> None:
    """Block SIGCHLD, so that `wait` can be woken by it; call it before a child is started."""
    _signal.pthread_sigmask(_signal.SIG_BLOCK, (_signal.SIGCHLD,))


def wait(child: int, deadline: float) -> int | None:
    """The status of `child` (as posix.waitpid has it), or None if it runs on at `deadline`."""
    while True:
        ended, status = posix.waitpid(child, posix.WNOHANG)
        if ended:
            return status
        left = deadline - time.monotonic()
        if left <= 0:
            return None
        _signal.sigtimedwait((_signal.SIGCHLD,), left)


def kill(child: int, *, group: bool = False) -> None:
    """Kill `child` (with its process group, if it leads one) and do not wait for it."""
    (posix.killpg if group else posix.kill)(child, _signal.SIGKILL)
