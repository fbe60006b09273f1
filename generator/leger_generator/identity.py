"""Which quadlet binary made the units: on image-based hosts all mtimes are alike, so all of it."""

import os


def quadlet_identity(path: str) -> dict[str, object]:
    """Path, size (bytes), mtime (ns), inode and device of the binary; OSError without it."""
    status = os.stat(path)
    return {
        "path": path,
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "ino": status.st_ino,
        "dev": status.st_dev,
    }
