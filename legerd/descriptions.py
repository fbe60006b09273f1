"""What is told and said of secrets besides their values: history, labels, when they expire."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from datetime import datetime

from legerd import calls, wire
from legerd.changes import Edit
from legerd.errors import InvalidDescription
from legerd.values import Secret

MAX_TEXT = 4096
MAX_LABELS = 64
MAX_LABEL = 256
#: How long before a secret expires its administrator is told so (seconds).
NOTICE = 14 * 86400.0

_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def edit(request: calls.DescribeRequest) -> Edit:
    """What a request wants said; InvalidDescription if it is too much or has not its form."""
    text, labels, expires = request.Description, request.Labels, request.Expires
    if len(text or "") > MAX_TEXT:
        raise InvalidDescription(f"a description has {MAX_TEXT} characters at most")
    if labels and (len(labels) > MAX_LABELS or not all(map(_is_label, labels.items()))):
        raise InvalidDescription(f"{MAX_LABELS} printable labels at most, of {MAX_LABEL} each")
    return Edit(text, labels, None if expires is None else _moment(expires))


def expiring(secrets: Iterable[Secret], now: float | None = None) -> Iterator[Secret]:
    """Those that have expired by `now` (seconds since the epoch), or will within NOTICE."""
    limit = (time.time() if now is None else now) + NOTICE
    return (secret for secret in secrets if 0 < secret.about.expires <= limit)


def written(moment: float) -> str:
    """`moment` (seconds since the epoch) as a JSON string of RFC 3339; null for 0: none known."""
    return time.strftime('"%Y-%m-%dT%H:%M:%SZ"', time.gmtime(moment)) if moment else "null"


def history(secret: Secret) -> str:
    """Everything that may be told of a secret, as JSON: no value is in it."""
    versions = ",".join(
        f'{{"Version":{number},"Created":{written(version.created)},'
        f'"Creator":{wire.text(version.creator)}}}'
        for number, version in sorted(secret.versions.items())
    )
    about = secret.about
    labels = ",".join(f"{wire.text(key)}:{wire.text(about.labels[key])}" for key in about.labels)
    deleted = ",".join(map(str, sorted(secret.deleted)))
    return (
        f'{{"Name":{wire.text(secret.name)},"ActiveVersion":{secret.active},'
        f'"LatestVersion":{secret.latest},"Versions":[{versions}],"Deleted":[{deleted}],'
        f'"Description":{wire.text(about.text)},"Labels":{{{labels}}},'
        f'"Expires":{written(about.expires)}}}'
    )


def _is_label(label: tuple[str, str]) -> bool:
    key, value = label
    return bool(key) and len(key + value) <= MAX_LABEL and (key + value).isprintable()


def _moment(text: str) -> float:
    if not text:
        return 0.0
    try:
        moment = datetime.fromisoformat(text.upper()).timestamp() if _RFC3339.fullmatch(text) else 0
    except (ValueError, OverflowError):
        moment = 0
    if moment <= 0:
        raise InvalidDescription("an expiry date is RFC 3339, or null")
    return moment
