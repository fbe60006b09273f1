"""What a request's path and Host header mean: as Go's mux and net/http read them."""

from __future__ import annotations

import posixpath
from urllib.parse import unquote


def decoded(path: str) -> str:
    """`path` without its percent-encoding, but for slashes: an encoded one separates nothing."""
    return unquote(path.replace("%2f", "%252f").replace("%2F", "%252F"))


def clean(path: str) -> str:
    """`path` as Go's mux wants it: no empty, . or .. parts, a trailing slash kept."""
    short = posixpath.normpath(f"/{path}")
    short = f"/{short.lstrip('/')}"
    return f"{short}/" if path.endswith("/") and short != "/" else short


def host(header: str) -> str:
    """The name in a Host header: without port and brackets, in lower case, no trailing dot."""
    name = header.rpartition("]")[0] if header.startswith("[") else header.partition(":")[0]
    return name.strip("[").rstrip(".").lower()
