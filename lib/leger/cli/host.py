"""The host that a command acts on, and the lock that it holds meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from leger.scope import Scope

if TYPE_CHECKING:
    from leger.switch import Host


def scope(*, user: bool) -> Scope:
    """The scope that --user, or its absence, names."""
    return Scope.user() if user else Scope.system()


@contextlib.contextmanager
def changing(*, user: bool) -> Iterator[Host]:
    """The host, locked for this command; another command is waited for, and that is said."""
    from leger import disk, systemd
    from leger.cli import output, service
    from leger.cli.bar import Bar
    from leger.errors import CancelledError
    from leger.switch import Host

    service.authorise(user=user)
    where = scope(user=user)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(disk.lock(where.lock, wait=False))
        except CancelledError:
            output.progress("leger: another leger command is at work; waiting for it")
            stack.enter_context(disk.lock(where.lock))
        with Bar() as bar:
            yield Host(where, systemd.connect(where), bar.line, bar.show)
