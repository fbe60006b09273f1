"""Tailscale's setec from Python: a client of its API, and a store that keeps secrets at hand.

docs/setec-client.md says how to use it.
"""

from leger.setec.cache import Cache, FileCache, MemoryCache
from leger.setec.client import Client
from leger.setec.errors import (
    AccessDeniedError,
    AnswerError,
    NotFoundError,
    RefreshError,
    SetecError,
    UndeclaredError,
    UnreachableError,
    ValueNotChangedError,
    VersionClaimedError,
)
from leger.setec.fileclient import FileClient
from leger.setec.keyring import Keyring
from leger.setec.static import StaticSecret, StaticUpdater, static_file, static_text_file
from leger.setec.store import Store
from leger.setec.values import Info, StoreClient, Value, VersioningClient
from leger.setec.watcher import Secret, Updater, Watcher

__all__ = [
    "AccessDeniedError",
    "AnswerError",
    "Cache",
    "Client",
    "FileCache",
    "FileClient",
    "Info",
    "Keyring",
    "MemoryCache",
    "NotFoundError",
    "RefreshError",
    "Secret",
    "SetecError",
    "StaticSecret",
    "StaticUpdater",
    "Store",
    "StoreClient",
    "UndeclaredError",
    "UnreachableError",
    "Updater",
    "Value",
    "ValueNotChangedError",
    "VersionClaimedError",
    "VersioningClient",
    "Watcher",
    "static_file",
    "static_text_file",
]
