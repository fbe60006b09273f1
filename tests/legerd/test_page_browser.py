"""The page in Chromium: on a phone and a desktop, dark and light; its pictures are in .cache."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.legerd.browser import DESKTOP, PHONE, Browser, browser, program
from tests.legerd.daemon import Daemon, tcp_daemon
from tests.legerd.served import HEADERS
from tests.legerd.tailscaled import EVERYTHING, whois
from tests.legerd.test_page import HOSTILE, write_units

WINDOWS = [(PHONE, "phone"), (DESKTOP, "desktop")]
EVERY = "[...document.querySelectorAll('body *')]"
#: The least contrast of any text with what is behind it, as WCAG 2 computes it.
CONTRAST = """
(() => {
  const light = c => { const [r, g, b] = c.map(v => v / 255).map(
    v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const behind = node => { for (; node; node = node.parentElement) {
    const c = rgb(getComputedStyle(node).backgroundColor);
    if (c.length < 4 || c[3] > 0) return c.slice(0, 3); } return [255, 255, 255]; };
  let least = 99;
  for (const node of document.querySelectorAll('body *')) {
    if (![...node.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    const [a, b] = [light(rgb(getComputedStyle(node).color).slice(0, 3)), light(behind(node))];
    least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
  }
  return least;
})()
"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if not program():
        pytest.skip("chromium is not installed: tools/setup does that on Debian and Fedora")
    with browser(tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.fixture(scope="module")
def legerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """Secrets of every kind that may be hard to show."""
    with tcp_daemon(tmp_path_factory.mktemp("page")) as running:
        fill(running)
        yield running
        running.process.kill()  # it would wait for the browser's connections


def call(daemon: Daemon, name: str, body: Any) -> None:
    status, answer, _ = daemon.request("POST", f"/api/{name}", json.dumps(body).encode(), HEADERS)
    assert status == 200, answer


def put(daemon: Daemon, name: str, versions: int = 1) -> None:
    for number in range(versions):
        value = base64.b64encode(b"%d" % number).decode()
        call(daemon, "put", {"Name": name, "Value": value})


def fill(daemon: Daemon) -> None:
    now = datetime.now(UTC)
    put(daemon, "prod/web/db-password", 7)
    call(daemon, "activate", {"Name": "prod/web/db-password", "Version": 6})
    about = {"Description": "The web shop's database.\nRotated each quarter.",
             "Labels": {"owner": "shop", "tier": "1"},
             "Expires": (now + timedelta(days=5)).isoformat()}  # fmt: skip
    call(daemon, "leger/describe", {"Name": "prod/web/db-password", **about})
    put(daemon, "prod/api/token")
    past = (now - timedelta(days=2)).isoformat()
    call(daemon, "leger/describe", {"Name": "prod/api/token", "Expires": past})
    put(daemon, "mail/box-1")
    for name in (*HOSTILE, "long/" + "x" * 1000, "many words " * 60):
        put(daemon, name)
    write_units(
        daemon.folder,
        {
            "web.service": ["db=prod/web/db-password"],
            "worker.service": ["db=prod/web/db-password:5", "token=prod/api/token"],
            "mail@.service": ["box=mail/box-%i"],
        },
    )


def url(daemon: Daemon, query: str = "") -> str:
    assert isinstance(daemon.address, tuple)
    return f"http://127.0.0.1:{daemon.address[1]}/{query}"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(("size", "name"), WINDOWS, ids=["phone", "desktop"])
def test_everything_fits_and_can_be_read(
    chromium: Browser, legerd: Daemon, size: tuple[int, int], name: str, dark: bool
) -> None:
    chromium.open(url(legerd), size, dark=dark)
    chromium.picture(f"{name}-{'dark' if dark else 'light'}")
    assert chromium.said == []
    assert chromium.value("document.documentElement.scrollWidth") <= size[0]
    assert (
        chromium.value(f"Math.max(...{EVERY}.map(n => n.getBoundingClientRect().right))") <= size[0]
    )
    assert chromium.value("document.querySelectorAll('article').length") == 13
    assert chromium.value(CONTRAST) >= 4.5
    ground = chromium.value("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 200) is dark
    assert (
        chromium.value("getComputedStyle(document.querySelector('.active td')).fontWeight") == "600"
    )


@pytest.mark.parametrize(("size", "name"), WINDOWS, ids=["phone", "desktop"])
def test_without_secrets_it_says_so(
    chromium: Browser, legerd: Daemon, size: tuple[int, int], name: str
) -> None:
    assert legerd.tailscaled
    legerd.tailscaled.answer = whois()
    try:
        chromium.open(url(legerd), size)
        chromium.picture(f"{name}-empty")
        text = chromium.value("document.body.innerText")
    finally:
        legerd.tailscaled.answer = whois(EVERYTHING)
    assert "There is no secret that user@example.com may see." in text
    assert chromium.said == []


def test_names_are_shown_as_they_are(chromium: Browser, legerd: Daemon) -> None:
    chromium.open(url(legerd), DESKTOP)
    shown = chromium.value("[...document.querySelectorAll('h2')].map(n => n.textContent)")
    assert HOSTILE[0] in shown
    assert HOSTILE[1] in shown
    assert "rightU+202Eexe.txt" in shown
    assert chromium.value("document.querySelectorAll('script, img').length") == 0


def test_older_versions_open_and_the_filter_is_sent_without_a_script(
    chromium: Browser, legerd: Daemon
) -> None:
    chromium.open(url(legerd, "?name=db-"), PHONE)
    assert chromium.value("document.querySelectorAll('article').length") == 1
    hidden = "[...document.querySelectorAll('details tr')].filter(n => n.checkVisibility()).length"
    assert chromium.value(hidden) == 0
    place = (
        "const r = document.querySelector('summary').getBoundingClientRect(); [r.x + 9, r.y + 9]"
    )
    x, y = chromium.value(place)
    for kind in ("mousePressed", "mouseReleased"):
        chromium.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    assert chromium.value(hidden) == 3
    chromium.picture("phone-older")
    assert chromium.value("document.querySelector('form').elements.name.value") == "db-"


def test_one_look_is_one_line_of_the_audit_log(chromium: Browser, legerd: Daemon) -> None:
    log: Path = legerd.folder / "state/audit.log"
    before = log.read_bytes().count(b"\n")
    chromium.open(url(legerd), DESKTOP)
    assert log.read_bytes().count(b"\n") == before + 1


def test_many_secrets_can_be_found(chromium: Browser, tmp_path: Path) -> None:
    with tcp_daemon(tmp_path) as legerd:
        for number in range(130):
            put(legerd, f"app{number:03}/password")
        chromium.open(url(legerd), PHONE)
        chromium.picture("phone-many")
        assert chromium.value("document.querySelectorAll('article').length") == 130
        chromium.open(url(legerd, "?name=app12"), DESKTOP)
        chromium.picture("desktop-filtered")
        assert chromium.value("document.querySelectorAll('article').length") == 10
        legerd.process.kill()
