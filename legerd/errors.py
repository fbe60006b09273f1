"""What legerd refuses. The names of the first group are setec's; one table maps them to statuses.

Everything here derives from LegerdError, which carries a hint like every error of Leger.
"""
# ruff: noqa: N818 - the names are the field's own: setec says "not found", not "not found error"

from __future__ import annotations

from leger.errors import LegerError


class LegerdError(LegerError):
    """Something that legerd refuses or cannot do; `hint` says what mends it."""


class NotFound(LegerdError):
    """No such secret, or no such version of it (404)."""


class AccessDenied(LegerdError):
    """The caller may not do this (403)."""


class ValueUnchanged(LegerdError):
    """A conditional get found the version that the caller has (304)."""


class InvalidVersion(LegerdError):
    """create-version was asked for version 0 (400)."""


class InvalidDescription(LegerdError):
    """What is to be said of a secret is too much, or has not its form (400)."""


class NotSupported(LegerdError):
    """setec's own file has no place for this (501)."""


class VersionClaimed(LegerdError):
    """The version exists, or existed and was deleted (412)."""


class Rejected(LegerdError):
    """The request makes no sense to the vault (setec: 500).

    An empty name, a name below _internal/, version 0, the active version to delete, or no version
    number left.
    """


class StoreUnavailable(LegerdError):
    """The disk refused (full, failing): nothing was acknowledged, a later try may work (500)."""


class StoreLocked(LegerdError):
    """Another server or offline command has the vault open."""


class StoreCorrupt(LegerdError):
    """The vault is damaged, incomplete or older than it was: refused, nothing written."""


class KeyUnavailable(LegerdError):
    """There is no key-encryption key, or not the one that the vault is sealed with."""
