"""The page at /: the secrets that its reader may see, and nothing that could be a value.

One string of HTML without scripts. Whatever somebody else wrote goes through `_text`, which
escapes it and makes visible what a browser would hide or reorder by.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import parse_qs

from legerd.descriptions import NOTICE
from legerd.identity import Principal
from legerd.uses import Use, UsesFile
from legerd.values import Description, Secret, Version

MAX_SECRETS = 500
MAX_VERSIONS = 4
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_JOINERS = "\u200c\u200d"  # emoji and some scripts need them


class Page:
    """Shows the secrets of `host`, and which units of this host `uses` knows to use them."""

    def __init__(self, host: str, uses: UsesFile) -> None:
        self._host = host
        self._uses = uses

    def html(self, reader: Principal, secrets: Sequence[Secret], query: str) -> bytes:
        """What `reader` sees; `query` (?name=TEXT) narrows it to names with that text in them."""
        wanted = _wanted(query)
        found = [secret for secret in secrets if wanted.casefold() in secret.name.casefold()]
        now = time.time()
        uses = self._uses.current()
        rows = "".join(
            _secret(secret, uses.find(secret.name) if uses else None, now)
            for secret in found[:MAX_SECRETS]
        )
        who = _text(reader.user or ", ".join(reader.tags))
        intro = f"There is no secret that {who} may see."
        if secrets:
            count = _count(len(secrets), "secret")
            intro = f"{count} that {who} may see. Their values are not shown. Times are UTC."
        text = _PAGE.format(
            host=_text(self._host),
            intro=intro,
            filter=_FILTER.format(wanted=escape(wanted)) if secrets else "",
            told=_told(len(found), wanted) if secrets else "",
            rows=rows,
        )
        return text.encode("utf-8", "replace")


def _wanted(query: str) -> str:
    try:
        given = parse_qs(query, max_num_fields=8, errors="replace")
    except ValueError:
        return ""
    return given.get("name", [""])[0]


def _told(found: int, wanted: str) -> str:
    """What the filter and the limit have left of them."""
    if not found:
        return f'<p class="told">No name has “{_text(wanted)}” in it.</p>'
    if found > MAX_SECRETS:
        return (
            f'<p class="told">{MAX_SECRETS} of {found:,} are shown. '
            "Give a part of the name for the others.</p>"
        )
    return f'<p class="told">{_count(found, "name")} with “{_text(wanted)}”.</p>' if wanted else ""


def _secret(secret: Secret, uses: tuple[Use, ...] | None, now: float) -> str:
    return (
        f'<article><div class="name"><h2>{_text(secret.name)}</h2>{_about(secret.about, now)}</div>'
        f"{_versions(secret)}{_units(uses)}</article>\n"
    )


def _about(about: Description, now: float) -> str:
    parts = []
    if about.text:
        lines = "\n".join(map(_text, about.text.split("\n")))
        parts.append(f'<p class="about">{lines}</p>')
    if about.labels:
        items = "".join(
            f"<li>{_text(key)}={_text(value)}</li>" for key, value in sorted(about.labels.items())
        )
        parts.append(f'<ul class="labels">{items}</ul>')
    if about.expires:
        over, soon = about.expires <= now, about.expires <= now + NOTICE
        kind = ' class="expires over"' if over else ' class="expires soon"' if soon else ""
        word = "expired" if over else "expires"
        parts.append(f"<p{kind}>{word} {_moment(about.expires)}</p>")
    return "".join(parts)


def _versions(secret: Secret) -> str:
    """A table of the newest versions and the active one, the others behind a click."""
    numbers = sorted(secret.versions, reverse=True)
    shown = [n for n in numbers if n in numbers[:MAX_VERSIONS] or n == secret.active]
    hidden = [n for n in numbers if n not in shown]
    more = ""
    if hidden:
        rows = _rows(secret, hidden)
        more = f"<details><summary>{len(hidden):,} older</summary><table>{rows}</table></details>"
    return (
        '<div class="versions"><table><thead><tr><th scope="col">Version</th>'
        '<th scope="col">Made</th><th scope="col">By</th></tr></thead>'
        f"<tbody>{_rows(secret, shown)}</tbody></table>{more}</div>"
    )


def _rows(secret: Secret, numbers: Iterable[int]) -> str:
    return "".join(_row(n, secret.versions[n], active=n == secret.active) for n in numbers)


def _row(number: int, version: Version, *, active: bool) -> str:
    mark, badge = (' class="active"', " <strong>active</strong>") if active else ("", "")
    made = _moment(version.created) if version.created else "not known"
    by = _text(version.creator) if version.creator else "not known"
    cells = f'<td>{number}{badge}</td><td>{made}</td><td class="by">{by}</td>'
    return f"<tr{mark}>{cells}</tr>"


def _units(uses: tuple[Use, ...] | None) -> str:
    if uses is None:
        text = "not known: units.json cannot be read"
    elif not uses:
        text = "none"
    else:
        items = (
            f"<li>{_text(use.unit)}{f' (version {use.version})' if use.version else ''}</li>"
            for use in uses
        )
        return f'<div class="units"><h3>Units</h3><ul>{"".join(items)}</ul></div>'
    return f'<div class="units"><h3>Units</h3><p>{text}</p></div>'


def _moment(seconds: float) -> str:
    moment = time.gmtime(seconds)
    full = time.strftime("%Y-%m-%dT%H:%M:%SZ", moment)
    return f'<time datetime="{full}">{time.strftime("%Y-%m-%d %H:%M", moment)}</time>'


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _text(text: str) -> str:
    """`text` as HTML, isolated from what stands around it; what has no look of its own gets one."""
    if text.isprintable():
        return f"<bdi>{escape(text)}</bdi>"
    letters = (
        escape(letter)
        if letter.isprintable() or letter in _JOINERS
        else f'<span class="code">U+{ord(letter):04X}</span>'
        for letter in text
    )
    return f"<bdi>{''.join(letters)}</bdi>"


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Secrets</title>
<link rel="icon" type="image/svg+xml" href="/static/icon.svg">
<link rel="stylesheet" href="/static/style.css">
</head>
<body>
<header>
<h1>Secrets of {host}</h1>
<p>{intro}</p>
{filter}</header>
<main>
{told}
{rows}</main>
</body>
</html>
"""
_FILTER = """<form method="get" action="/" role="search">
<label for="name">Name</label>
<input type="search" id="name" name="name" value="{wanted}" autocomplete="off" spellcheck="false">
<button type="submit">Filter</button>
</form>
"""
