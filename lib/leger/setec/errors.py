"""What a setec server, a store or its cache may refuse."""

from __future__ import annotations

from leger.errors import LegerError, NotAuthorisedError


class SetecError(LegerError):
    """A call of setec's API, or of a store, did not succeed."""


class NotFoundError(SetecError):
    """There is no such secret or version (404)."""


class AccessDeniedError(SetecError, NotAuthorisedError):
    """The server does not allow this caller to do that (403)."""


class ValueNotChangedError(SetecError):
    """The active version is the one that the caller has (304)."""


class VersionClaimedError(SetecError):
    """That version has, or once had, a value (412)."""


class UnreachableError(SetecError):
    """The server does not answer, or not in time."""


class AnswerError(SetecError):
    """The server answered something else; `status` is HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class UndeclaredError(SetecError):
    """The store was not told of this secret, and may not look it up."""


class RefreshError(SetecError):
    """Some secrets could not be asked for; `errors` has why. The others are up to date."""

    def __init__(self, message: str, errors: tuple[SetecError, ...]) -> None:
        super().__init__(message)
        self.errors = errors
