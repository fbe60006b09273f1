"""What root of the host does with the vault as a whole: its state, keys, backups, checks.

Like everything else it is recorded before it is done; who is not root is refused.
"""

from __future__ import annotations

from typing import Protocol

from legerd import calls, descriptions, wire
from legerd.audit import AuditLog, Entry
from legerd.crypto import KEY_BYTES
from legerd.errors import AccessDenied, LegerdError, Rejected
from legerd.identity import Caller
from legerd.keys import Kek
from legerd.store import SecretStore
from legerd.vault import Copy


class UpkeepStore(SecretStore, Protocol):
    """A store whose keys can be changed and that can be copied; see legerd.store.Store."""

    @property
    def recovery(self) -> str:
        """The name of the recovery key, empty while there is none."""

    @property
    def opened_with(self) -> str:
        """The id of the key-encryption key that opened it, in hex."""

    @property
    def keks(self) -> tuple[str, ...]:
        """The ids of all key-encryption keys that open it, in hex."""

    def set_recovery(self, public: bytes) -> None:
        """Wrap the data key for a recovery key."""

    def add_kek(self, kek: Kek) -> None:
        """Let another key open the vault as well."""

    def renew(self, *, data_key: bool) -> None:
        """Encrypt everything afresh, for the key that opened it and the recovery key only."""

    def copy(self) -> Copy:
        """A whole vault as of now."""

    def verify(self) -> None:
        """Read every record from the disk again."""


class Upkeep:
    """The calls of root; each answers JSON. All raise AccessDenied and what the store raises."""

    def __init__(self, store: UpkeepStore, audit: AuditLog) -> None:
        self._store = store
        self._audit = audit

    def status(self, caller: Caller, _request: calls.ListRequest) -> str:
        """The state of the vault; only a denial is recorded."""
        if not caller.root:
            self._gate(caller, "status")
        store = self._store
        snapshot = store.snapshot
        expiring = ",".join(
            f'{{"Name":{wire.text(secret.name)},'
            f'"Expires":{descriptions.written(secret.about.expires)}}}'
            for secret in descriptions.expiring(snapshot.values())
        )
        keks = ",".join(map(wire.text, store.keks))
        return (
            f'{{"Recovery":{wire.text(store.recovery)},"Secrets":{len(snapshot)},'
            f'"Expiring":[{expiring}],"Key":{wire.text(store.opened_with)},"Keys":[{keks}]}}'
        )

    def recovery(self, caller: Caller, request: calls.RecoveryRequest) -> str:
        """Let the recovery key with this public half open the vault."""
        self._gate(caller, "recovery")
        self._store.set_recovery(request.PublicKey)
        return "{}"

    def rekey(self, caller: Caller, request: calls.RekeyRequest) -> str:
        """Let another key-encryption key open the vault, or encrypt it afresh and drop others."""
        self._gate(caller, "rekey")
        if request.Key:
            if len(request.Key) != KEY_BYTES:
                raise Rejected("not a key-encryption key")
            self._store.add_kek(Kek.of(request.Key))
        else:
            self._store.renew(data_key=request.DataKey)
        return "{}"

    def backup(self, caller: Caller, _request: calls.ListRequest) -> str:
        """A copy of the vault's files, encrypted as they are."""
        self._gate(caller, "backup")
        copy = self._store.copy()
        return (
            f'{{"Commit":{copy.commit},"Recovery":{wire.text(self._store.recovery)},'
            f'"Sequence":{wire.base64(copy.sequence)},"Database":{wire.base64(copy.database)}}}'
        )

    def check(self, caller: Caller, _request: calls.ListRequest) -> str:
        """Whether every record on the disk is as it should be; "Problem" says what is not."""
        self._gate(caller, "check")
        problem = ""
        try:
            self._store.verify()
        except LegerdError as error:
            problem = str(error)
        return f'{{"Secrets":{len(self._store.snapshot)},"Problem":{wire.text(problem)}}}'

    def _gate(self, caller: Caller, action: str) -> None:
        self._audit.record([Entry(caller.principal, action, caller.root)])
        if not caller.root:
            raise AccessDenied("access denied")
