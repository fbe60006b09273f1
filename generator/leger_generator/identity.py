"""Which quadlet binary made the units: on image-based hosts all mtimes are alike, so all of it."""

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def quadlet_identity(path: str) -> dict[str, object]:
    """Path, size (bytes), mtime (ns), inode and device of the binary; OSError without it."""
    status = posix.stat(path)
    return {
        "path": path,
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "ino": status.st_ino,
        "dev": status.st_dev,
    }


def is_unchanged(recorded: "Mapping[str, object]") -> bool:
    """Whether the binary that `recorded` is of is still there, or was never known."""
    path = recorded.get("path")
    try:
        return not isinstance(path, str) or is_same(quadlet_identity(path), recorded)
    except OSError:
        return False


def is_same(one: object, other: object) -> bool:
    """Whether two identities are of one binary.

    The device's number does not count: with btrfs, the device mapper or a loop device it may be
    another after each boot.
    """
    return _stable(one) == _stable(other)


def _stable(identity: object) -> object:
    if not isinstance(identity, dict):
        return identity
    return {key: value for key, value in identity.items() if key != "dev"}
