"""setec's rules for every mutation, as functions that decide and touch nothing.

Each takes the secret as it is (None: there is none) and returns what is to be, or raises. Where
setec's server has a bug the rule is what it meant: after the latest version was deleted, a put of
an empty value makes a version; there is no version after the last number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from legerd.errors import InvalidVersion, NotFound, Rejected, VersionClaimed
from legerd.values import MAX_VERSION, Description, Secret, Version

_INTERNAL = "_internal/"


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one secret: `after` is None if it is gone, `version` is what is answered.

    `added` and `removed` are the numbers of the versions that come and go. A change that is not
    `written` leaves everything as it is.
    """

    name: str
    before: Secret | None
    after: Secret | None
    version: int = 0
    added: tuple[int, ...] = ()
    removed: tuple[int, ...] = ()

    @property
    def written(self) -> bool:
        """Whether anything is to be written at all."""
        return self.after is not self.before


@dataclass(frozen=True, slots=True)
class Edit:
    """What is to be said of a secret, as Description has it; None leaves that as it is."""

    text: str | None = None
    labels: Mapping[str, str] | None = None
    expires: float | None = None

    def applied(self, before: Description) -> Description:
        """The description that it makes of `before`."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(
            before, **{name: value for name, value in given.items() if value is not None}
        )


def put(secret: Secret | None, name: str, new: Version) -> Change:
    """The next version, inactive unless it is the first; none if the latest has that value."""
    _public(name)
    if secret is None:
        return Change(name, None, Secret(name, {1: new}, 1, 1), 1, added=(1,))
    latest = secret.versions.get(secret.latest)
    if latest is not None and latest.value == new.value:
        return Change(name, secret, secret, secret.latest)
    number = secret.latest + 1
    if number > MAX_VERSION:
        raise Rejected("no version number is left")
    after = replace(secret, versions=_with(secret, number, new), latest=number)
    return Change(name, secret, after, number, added=(number,))


def create_version(secret: Secret | None, name: str, number: int, new: Version) -> Change:
    """A version of the caller's number, active at once; its number must never have been used."""
    if not name:
        raise Rejected("a secret needs a name")
    if number == 0:
        raise InvalidVersion("invalid version, please specify a version > 0")
    if secret is None:
        return Change(name, None, Secret(name, {number: new}, number, number), added=(number,))
    if number in secret.versions or number in secret.deleted:
        raise VersionClaimed("version already set")
    after = replace(
        secret,
        versions=_with(secret, number, new),
        active=number,
        latest=max(secret.latest, number),
    )
    return Change(name, secret, after, added=(number,))


def activate(secret: Secret | None, name: str, number: int) -> Change:
    """Make `number` the active version; nothing to do if it is."""
    _public(name)
    present = _numbered(secret, number)
    if number not in present.versions:
        raise NotFound("not found")
    if number == present.active:
        return Change(name, present, present)
    return Change(name, present, replace(present, active=number))


def delete_version(secret: Secret | None, name: str, number: int) -> Change:
    """Delete one version for good; its number is remembered. Never the active one."""
    _public(name, empty=True)
    present = _numbered(secret, number)
    if number == present.active:
        raise Rejected("the active version cannot be deleted")
    if number not in present.versions:
        raise NotFound("not found")
    rest = {key: value for key, value in present.versions.items() if key != number}
    after = replace(present, versions=rest, deleted=present.deleted | {number})
    return Change(name, present, after, removed=(number,))


def delete(secret: Secret | None, name: str) -> Change:
    """Delete all of a secret; numbering begins again at 1. Fine if there is none."""
    _public(name, empty=True)
    removed = tuple(secret.versions) if secret else ()
    return Change(name, secret, None, removed=removed)


def describe(secret: Secret | None, name: str, edit: Edit) -> Change:
    """Say something of a secret that is there."""
    _public(name)
    if secret is None:
        raise NotFound("not found")
    about = edit.applied(secret.about)
    if about == secret.about:
        return Change(name, secret, secret)
    return Change(name, secret, replace(secret, about=about))


def _public(name: str, *, empty: bool = False) -> None:
    if name.startswith(_INTERNAL):
        raise Rejected("this name is reserved")
    if not name and not empty:
        raise Rejected("a secret needs a name")


def _numbered(secret: Secret | None, number: int) -> Secret:
    if number == 0:
        raise Rejected("version 0 names no version")
    if secret is None:
        raise NotFound("not found")
    return secret


def _with(secret: Secret, number: int, new: Version) -> Mapping[int, Version]:
    return {**secret.versions, number: new}
