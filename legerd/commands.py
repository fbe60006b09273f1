"""What an administrator runs beside the server: about keys, and about the store as a whole."""

from __future__ import annotations

import base64
import contextlib
import getpass
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from leger import disk, processes
from leger.errors import LegerError, UsageError

from legerd import (
    auditcheck,
    aws,
    backup,
    keygen,
    log,
    recovery,
    rekey,
    restoring,
    rootsocket,
    setec_vault,
    stores,
)
from legerd.errors import KeyUnavailable, StoreCorrupt, StoreLocked
from legerd.keys import CREDENTIAL, Cipher, Kek, load_kek
from legerd.options import STATE, Options
from legerd.store import Store
from legerd.values import Secret

DEV_KEY = b"SetecDevOnlyDummyEncryption".ljust(32, b"\0")
_IMPORTER = "legerd import"
_SECONDS = 120.0


def make_key(options: Options) -> None:
    """`legerd keygen`: the sealed key and the empty vault, once in a host's life."""
    log.note(keygen.run(state=options.state))


def recovery_key(options: Options) -> None:
    """`legerd recovery-key`: show or write a new recovery key; the vault keeps its public half."""

    def register(public: bytes) -> None:
        rootsocket.ask("recovery", {"PublicKey": base64.b64encode(public).decode()})

    public = recovery.make(register, sys.stdout, options.output)
    log.note(f"recovery key {public.name} opens the vault from now on; keep it off this host")


def renew_keys(options: Options) -> None:
    """`legerd rekey`: a new key-encryption key, or with --data-key everything encrypted afresh."""
    if options.data_key:
        with _offline(options) as store:
            if store is None:
                rootsocket.ask("rekey", {"DataKey": True})
            else:
                store.renew(data_key=True)
        log.note("everything is encrypted afresh, with a new data key")
    elif options.new_key_file or options.new_kms_key:
        log.note(_change_kek(options))
    else:
        log.note(rekey.run(rootsocket.ask, _restart))


def make_backup(options: Options) -> None:
    """`legerd backup`: a copy of the vault, encrypted, in a folder or in S3."""
    made = _copy(options)
    if not made.recovery and not options.without_recovery_key:
        raise UsageError(
            "there is no recovery key: nobody could open the backup if this host is lost",
            hint="legerd recovery-key makes one; --without-recovery-key makes the backup anyway",
        )
    for name in backup.store(made, options.to, options.keep):
        log.note(f"removed {name}")
    log.note(f"a backup of {len(made.database) >> 10} KiB as of commit {made.commit}")
    sys.stdout.write(f"{options.to.rstrip('/')}/{made.name}\n")


def restore(options: Options) -> None:
    """`legerd restore`: a backup, or files that are in place, sealed to this host."""
    if not options.source:
        key = _recovery_key(options)
        log.note(keygen.restore(key, state=options.state, accept_rollback=options.accept_rollback))
        return
    kek = None
    if _own_key(options) or (keygen.KEY_FOLDER / keygen.NAME).exists():
        kek = key_encryption_key(options)
    found = backup.load(options.source)
    log.note(
        restoring.restore(
            found,
            kek,
            lambda: _recovery_key(options),
            options.state,
            replace=options.replace,
        )
    )


def check(options: Options) -> None:
    """`legerd check`: open every record of the store and read every line of the audit log.

    A running server reads its own records; otherwise they are read here.
    """
    if not _is_named(options) and _is_active():
        secrets = _checked_by_server()
    else:
        try:
            with stores.opened(options, key_encryption_key(options)) as store:
                secrets = len(store.snapshot)
        except StoreLocked:
            secrets = _checked_by_server()
    found = auditcheck.check(options.state / "audit.log")
    for note in found.notes:
        log.warning(note)
    log.note(f"{secrets} secrets and {found.lines} lines of the audit log are whole")


def import_file(options: Options) -> None:
    """`legerd import FILE`: add all secrets of a file of setec's to the store, or none."""
    file, kek = options.file or Path(), key_encryption_key(options)
    if stores.kind_of(file) is not stores.Kind.SETEC:
        raise UsageError(
            f"{file}: is legerd's own database, not setec's",
            hint="put its folder in place as a whole, and: legerd restore",
        )
    _, secrets = setec_vault.load(file, _file_keys(options, kek))
    with stores.opened(options, kek) as store:
        count = store.add(_imported(secret, time.time()) for secret in secrets.values())
    log.note(f"{count} secrets added, {len(secrets) - count} were there already")


def export_file(options: Options) -> None:
    """`legerd export FILE`: a new file of setec's with all secrets of the store."""
    file, kek = options.file or Path(), key_encryption_key(options)
    keys = _file_keys(options, kek)
    with stores.opened(options, kek) as store:
        secrets = store.snapshot
    setec_vault.create(file, keys[0], secrets.values())
    log.note(f"{len(secrets)} secrets written to {file}")


def key_encryption_key(options: Options) -> Kek:
    """The key in KMS or a file, the service's credential or, for root, the sealed one itself."""
    if options.kms_key:
        return aws.kms_key(options.kms_key)
    if options.dev and not options.key_file:
        return Kek.of(DEV_KEY)
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if options.key_file or folder or options.command == "serve":
        return load_kek(Path(folder) if folder else None, options.key_file)
    sealed = keygen.KEY_FOLDER / keygen.NAME
    command = ["systemd-creds", "decrypt", f"--name={CREDENTIAL}", str(sealed), "-"]
    done = processes.run(command, timeout=_SECONDS)
    if done.code:
        raise KeyUnavailable(f"{sealed}: {done.message}", hint="run it as root on the same host")
    return Kek.of(done.stdout)


def _own_key(options: Options) -> bool:
    return bool(options.key_file or options.kms_key or options.dev)


def _is_named(options: Options) -> bool:
    """Whether a certain store is meant, and not that of the service."""
    return bool(_own_key(options) or options.db or options.state != STATE)


def _is_active() -> bool:
    """Whether the service runs: to call one that cannot start would be to wait for it."""
    try:
        command = ["systemctl", "--quiet", "is-active", "legerd.service"]
        return processes.run(command, timeout=_SECONDS).code == 0
    except LegerError:
        return False


def _checked_by_server() -> int:
    """How many secrets the running server has read from its disk; StoreCorrupt if not all."""
    answer = rootsocket.ask("check")
    if answer["Problem"]:
        raise StoreCorrupt(str(answer["Problem"]), hint="put a backup back: legerd restore BACKUP")
    return int(answer["Secrets"])


@contextlib.contextmanager
def _offline(options: Options) -> Iterator[Store | None]:
    """The store that the options name, opened here; None if the running server's is meant."""
    if _is_named(options):
        with stores.opened(options, key_encryption_key(options)) as store:
            yield store
    else:
        yield None


def _copy(options: Options) -> backup.Backup:
    """The store as of now: from the running server, or from the files that the options name."""
    now = int(time.time())
    with _offline(options) as store:
        if store is not None:
            copy = store.copy()
            name, files = store.recovery, (copy.database, copy.sequence)
            return backup.Backup(options.host, now, copy.commit, name, *files)
    answer = rootsocket.ask("backup")
    database, sequence = (base64.b64decode(answer[part]) for part in ("Database", "Sequence"))
    name = str(answer["Recovery"])
    return backup.Backup(options.host, now, int(answer["Commit"]), name, database, sequence)


def _change_kek(options: Options) -> str:
    """Give the store another key that is not sealed to this host: a file, or one in KMS."""
    new = (
        aws.kms_key(options.new_kms_key)
        if options.new_kms_key
        else load_kek(None, options.new_key_file)
    )
    with stores.opened(options, key_encryption_key(options)) as store:
        store.add_kek(new)
    with stores.opened(options, new) as store:
        store.renew(data_key=False)
    return f"the vault is opened by key {new.id.hex()} from now on, and by no other"


def _restart() -> None:
    done = processes.run(["systemctl", "restart", "legerd.service"], timeout=_SECONDS)
    if done.code:
        raise LegerError(f"systemctl restart legerd.service: {done.message}")


def _recovery_key(options: Options) -> recovery.RecoveryKey:
    if options.recovery_key is not None:
        text = disk.read_file(options.recovery_key, limit=1 << 16).decode(errors="replace")
    elif sys.stdin.isatty():
        text = getpass.getpass("recovery key (64 letters and digits): ")
    else:
        text = sys.stdin.read(1 << 16)
    return recovery.RecoveryKey.parse(text)


def _file_keys(options: Options, kek: Kek) -> tuple[Cipher, ...]:
    """What opens the FILE that is imported or exported."""
    if options.file_key is not None:
        return (load_kek(None, options.file_key),)
    if options.file_kms_key:
        return (aws.kms_key(options.file_kms_key),)
    return stores.file_keys(options, kek)


def _imported(secret: Secret, when: float) -> Secret:
    """`secret` as made now, since setec does not say when and by whom it was."""
    versions = {
        number: replace(version, created=when, creator=_IMPORTER)
        for number, version in secret.versions.items()
    }
    return replace(secret, versions=versions)
