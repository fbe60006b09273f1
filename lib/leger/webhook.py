"""One POST of JSON to an address that an administrator gave; the only door to the web.

No proxy from the environment, no redirect, no cookie: the summary goes where it was meant to go.
"""

from __future__ import annotations

import http.client
import ssl
import threading
import urllib.parse

from leger import __version__
from leger.errors import LegerError

_HEADERS = {"Content-Type": "application/json", "User-Agent": f"leger/{__version__}"}


def post(url: str, data: bytes, timeout: float) -> None:
    """POST `data` to `url`, `timeout` seconds in all.

    Raises LegerError unless the answer is 2xx. It names the host only: a path may be a secret.
    """
    host = urllib.parse.urlsplit(url).hostname or ""
    answers: list[str] = []
    # Names are looked up without any limit, and a slow server can draw out its answer for ever.
    thread = threading.Thread(
        target=lambda: answers.append(_answer(url, data, timeout)), daemon=True
    )
    thread.start()
    thread.join(timeout)
    reason = answers[0] if answers else f"no answer in {timeout:g} s"
    if reason:
        raise LegerError(f"webhook at {host}: {reason}")


def _answer(url: str, data: bytes, timeout: float) -> str:
    """What was wrong with the answer; "" if nothing."""
    parts = urllib.parse.urlsplit(url)
    path = parts.path or "/"
    connection = _connection(parts, timeout)
    try:
        connection.request("POST", f"{path}?{parts.query}" if parts.query else path, data, _HEADERS)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        return str(getattr(error, "strerror", None) or error or type(error).__name__)
    finally:
        connection.close()
    return "" if 200 <= status < 300 else f"it answered {status}"


def _connection(parts: urllib.parse.SplitResult, timeout: float) -> http.client.HTTPConnection:
    host = parts.hostname or ""
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, parts.port, timeout=timeout)
    return http.client.HTTPSConnection(
        host, parts.port, timeout=timeout, context=ssl.create_default_context()
    )
