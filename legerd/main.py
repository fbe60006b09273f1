"""legerd's program: serve under systemd, and the commands that mind its keys."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from leger.errors import LegerError, UsageError

from legerd import commands, follow, limits, log, memory, server, stores
from legerd.api import QUICK, make_app
from legerd.audit import AuditLog
from legerd.listeners import inherited
from legerd.local import LocalCallers
from legerd.localapi import LocalApi
from legerd.notify import notify
from legerd.options import Options, parse
from legerd.page import Page
from legerd.policy import PolicyFile
from legerd.service import Service
from legerd.tailnet import TailnetCallers, is_local
from legerd.uses import UsesFile

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

WATCHDOG_SECONDS = 60.0  # legerd.service has the same
LOOPBACK = ("127.0.0.1", "::1", "localhost")
_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run legerd with `arguments` (default: those of the process); the exit status."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        _COMMANDS[options.command](options)
    except LegerError as error:
        log.error(error, error.hint)
        return error.exit_code
    return 0


def _serve(options: Options) -> None:
    """Open the vault, answer until SIGTERM, drain."""
    _mind_dev(options)
    os.umask(0o077)
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    log.quiet_logs()
    for warning in memory.protect():
        log.warning(warning)
    sockets = _sockets(options)
    audit = AuditLog(
        options.state / "audit.log", limit=options.audit_limit, keep=options.audit_keep
    )
    store = stores.open_store(options, commands.key_encryption_key(options))
    service = Service(store, audit)
    bounds = limits.Limits(body=options.max_body, connections=limits.most_connections())
    listeners = [
        server.Listener(
            listening,
            _application(service, listening, options),
            bounds,
            service.requests.add,
            QUICK,
        )
        for listening in sockets
    ]
    for listener in listeners:
        listener.start()
    follower = _follower(service, bounds, options)
    follower.start()
    notify("READY=1")
    _wait(audit, lambda: [*listeners, *follower.listeners])
    notify("STOPPING=1")
    follower.stop()
    server.drain([*listeners, *follower.listeners], wake=service.watchers.close)
    store.close()
    audit.close()


def _mind_dev(options: Options) -> None:
    """Say loudly what --dev is; the service, which has a key of its own, does not take it."""
    if not options.dev:
        return
    if "CREDENTIALS_DIRECTORY" in os.environ:
        raise UsageError(
            "--dev is for tests by hand, not for the service",
            hint="take it out of LEGERD_OPTIONS in /etc/default/legerd",
        )
    log.warning("--dev: for tests only, never for real secrets")


def _wait(audit: AuditLog, listeners: Callable[[], list[server.Listener]]) -> None:
    """Return when asked to end; on SIGHUP the audit log has been renamed by somebody.

    While every listener's loop turns the manager is told so (WatchdogSec= of the unit).
    """
    while True:
        received = signal.sigtimedwait(_SIGNALS, WATCHDOG_SECONDS / 4)
        if received is None:
            if all(listener.alive(WATCHDOG_SECONDS / 2) for listener in listeners()):
                notify("WATCHDOG=1")
        elif received.si_signo == signal.SIGHUP:
            audit.reopen()
        else:
            return


def _sockets(options: Options) -> list[socket.socket]:
    """The sockets to serve: systemd's, or one on a loopback address for tests."""
    if options.listen:
        family = socket.AF_INET6 if ":" in options.listen[0] else socket.AF_INET
        listening = socket.create_server(options.listen, family=family, backlog=1024)
        log.note(f"listening on port {listening.getsockname()[1]}")
        return [listening]
    found = [listening for _, listening in inherited(os.environ)]
    if not found:
        raise UsageError(
            "no sockets were passed",
            hint="systemctl start legerd.socket legerd-users.socket, or use --dev --listen",
        )
    return found


def _application(service: Service, listening: socket.socket, options: Options) -> WSGIApplication:
    """What answers on `listening`: how callers are known depends on the socket's family."""
    page = _page(options)
    if listening.family == socket.AF_UNIX:
        return make_app(service, LocalCallers(PolicyFile(options.policy), options.host), page)
    return make_app(service, TailnetCallers(options.tailscaled), page, LOOPBACK)


def _page(options: Options) -> Page:
    return Page(options.host, UsesFile(options.units))


def _follower(service: Service, bounds: limits.Limits, options: Options) -> follow.Follower:
    """What listens on the tailnet; on no port it follows nothing."""

    def serve(listening: socket.socket, node: follow.Node) -> server.Listener:
        callers = TailnetCallers(options.tailscaled, is_local)
        app = make_app(service, callers, _page(options), node.names)
        return server.Listener(listening, app, bounds, service.requests.add)

    return follow.Follower(LocalApi(options.tailscaled), options.tailnet_port, serve)


_COMMANDS: Mapping[str, Callable[[Options], None]] = {
    "serve": _serve,
    "keygen": commands.make_key,
    "recovery-key": commands.recovery_key,
    "rekey": commands.renew_keys,
    "backup": commands.make_backup,
    "restore": commands.restore,
    "check": commands.check,
    "import": commands.import_file,
    "export": commands.export_file,
}

if __name__ == "__main__":
    sys.exit(main())
