"""The one request to legerd, and what to do without its answer."""

from __future__ import annotations

import hmac
import json
import os
import time

from leger_hook.http import connect, request
from leger_hook.outcomes import BrokenOff, Failure, NotReached, Unreachable, say
from leger_hook.secrets import TAG, Answer, Stored, base64

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from leger_hook.options import Options, Part


def fetch(options: Options, stored: Mapping[str, Stored]) -> dict[Part, Answer]:
    """Ask legerd for all parts at once, each with a MAC of what is here (L22)."""
    key = os.urandom(32)
    wanted = [_question(part, stored.get(part.secret), key) for part in options.parts]
    body = json.dumps({"Key": base64(key), "Secrets": wanted}).encode()
    headers = {"Content-Type": "application/json", "Sec-X-Tailscale-No-Browsers": "setec"}
    try:
        status, text = _ask(options.legerd, body, headers)
        if status == 403:
            raise Failure(
                f"secret {', '.join(options.secrets)}: legerd refuses this caller"
                f" (uid {os.getuid()}); run: journalctl -u legerd"
            )
        if status != 200:
            raise Unreachable(f"it answered {status}")
        answers = json.loads(text)["Secrets"]
        return {
            part: Answer(raw, part, _value(stored, part))
            for part, raw in zip(options.parts, answers, strict=True)
        }
    except OSError as error:
        raise Unreachable(f"{options.legerd}: {error.strerror or 'broken off'}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise Unreachable("its answer cannot be understood") from error


def _question(part: Part, held: Stored | None, key: bytes) -> dict[str, object]:
    question: dict[str, object] = {
        "Name": part.name,
        "Version": part.version,
        "Have": "",
        "Mac": "",
    }
    if held is not None and part.key in held.values:
        question["Have"] = held.label(TAG, part.key)
        question["Mac"] = base64(hmac.digest(key, held.values[part.key], "sha256"))
    return question


def _value(stored: Mapping[str, Stored], part: Part) -> bytes | None:
    return stored[part.secret].values.get(part.key) if part.secret in stored else None


def _ask(path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
    """POST to legerd; once more if it was just going down as we came."""
    try:
        return request(connect(path), "POST", "/api/leger/fetch", body, headers)
    except BrokenOff:
        time.sleep(0.2)
        return request(connect(path), "POST", "/api/leger/fetch", body, headers)


def go_on_without_legerd(options: Options, stored: Mapping[str, Stored], why: str) -> None:
    """Warn if all is here already; else NotReached."""
    lacking = {
        part.secret
        for part in options.parts
        if part.secret not in stored or not stored[part.secret].satisfies(part)
    }
    reason = "Podman does not hold it yet"
    if options.fresh and not lacking:
        lacking, reason = set(options.secrets), "the deployment wants it fresh"
    mend = "run: systemctl status legerd.socket legerd.service"
    if lacking:
        raise NotReached(
            *(
                f"secret {name}: legerd cannot be reached ({why}) and {reason}; {mend}"
                for name in sorted(lacking)
            )
        )
    names = ", ".join(options.secrets)
    say("warning", f"secret {names}: legerd cannot be reached ({why}), the last is kept; {mend}")
