"""The page at /: what it tells whom, what it escapes, which units it names, how it is sent."""

from __future__ import annotations

import base64
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from leger_generator.plan import File, Plan, encode

from legerd.uses import Use, Uses, UsesFile
from tests.legerd.served import Served

HOSTILE = (
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "</h2></article><h1>&amp;",
    "{host}{0}%s",
    "right\u202eexe.txt",
    "line\nbreak\ttab\0nul",
    "\u05e9\u05dc\u05d5\u05dd/\u0645\u0631\u062d\u0628\u0627",
    "family \U0001f469\u200d\U0001f467",
)


class Reading(HTMLParser):
    """The texts of a page by element, and every tag with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "input"):
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in {*self._open}:
            self.texts[tag][-1] += data


def page(served: Served, path: str = "/") -> Reading:
    status, body, headers = served.request("GET", path, headers={})
    assert status == 200
    assert headers["content-type"] == "text/html; charset=utf-8"
    return Reading(body.decode())


def put(served: Served, name: str, value: bytes = b"c4n4ry") -> None:
    encoded = base64.b64encode(value).decode()
    assert served.call("put", {"Name": name, "Value": encoded})[0] == 200


def write_units(folder: Path, hooks: dict[str, list[str]]) -> None:
    """units.json with one drop-in of the hook for each unit."""
    files = {f"{unit}.d/00-leger.conf": File("x\n", "web", words) for unit, words in hooks.items()}
    plan = Plan(1, "system", quadlet={}, deployments={}, files=files)
    temporary = folder / "new"
    temporary.write_bytes(encode(plan))
    temporary.replace(folder / "units.json")


def test_it_tells_versions_who_made_them_and_which_is_active(served: Served) -> None:
    put(served, "db", b"1")
    put(served, "db", b"2")
    served.call("activate", {"Name": "db", "Version": 2})
    shown = page(served)
    assert shown.texts["h1"] == ["Secrets of host.example"]
    assert shown.texts["h2"] == ["db"]
    rows = shown.texts["tr"][1:]
    assert rows[0].startswith("2 active20")
    assert rows[1].startswith("120")
    assert all(f"unix:root({os.getuid()})" in row for row in rows if not os.getuid())
    assert shown.texts["strong"] == ["active"]


def test_older_versions_wait_behind_a_click_but_never_the_active_one(served: Served) -> None:
    for number in range(12):
        put(served, "many", b"%d" % number)
    shown = page(served)
    assert [row.split("20")[0] for row in shown.texts["tr"][1:]] == [
        *("12", "11", "10", "9", "1 active"),
        *("8", "7", "6", "5", "4", "3", "2"),
    ]
    assert shown.texts["summary"] == ["7 older"]


def test_no_value_is_on_it_and_a_list_is_recorded(served: Served) -> None:
    put(served, "a")
    body = served.request("GET", "/", headers={})[1]
    assert b"c4n4ry" not in body
    assert base64.b64encode(b"c4n4ry") not in body
    line = served.lines()[-1]
    assert (line["action"], line["authorized"], line.get("secret")) == ("info", True, None)


def test_it_shows_what_info_covers_and_nothing_to_a_stranger(served: Served) -> None:
    for name in ("prod/a", "prod/b", "test/a"):
        put(served, name)
    served.policy.write_text(f"rules: [{{uid: {os.getuid()}, action: info, secret: 'prod/*'}}]")
    assert page(served).texts["h2"] == ["prod/a", "prod/b"]
    served.policy.write_text(f"rules: [{{uid: {os.getuid()}, action: get, secret: '*'}}]")
    shown = page(served)
    assert "h2" not in shown.texts
    assert re.search("There is no secret that unix:.* may see", shown.texts["p"][0])


def test_what_others_wrote_is_text_and_visible(served: Served) -> None:
    for name in HOSTILE:
        put(served, name)
        about = {"Name": name, "Description": name[:50], "Labels": {"<b>": "</ul>"}}
        assert served.call("leger/describe", about) == (200, {})
    shown = page(served)
    assert {tag for tag, _ in shown.tags}.isdisjoint({"script", "img", "b"})
    assert not [name for _, given in shown.tags for name in given if name.startswith("on")]
    visible = {
        name.replace("\n", "U+000A").replace("\t", "U+0009").replace("\0", "U+0000")
        for name in HOSTILE
    }
    assert set(shown.texts["h2"]) == {name.replace("\u202e", "U+202E") for name in visible}
    assert "<b>=</ul>" in shown.texts["li"]


def test_description_and_expiry_are_told(served: Served) -> None:
    put(served, "a")
    about = {
        "Name": "a",
        "Description": "for the <till>\nby hand",
        "Expires": "2020-01-01T00:00:00Z",
    }
    served.call("leger/describe", about)
    shown = page(served)
    assert "for the <till>\nby hand" in shown.texts["p"]
    assert "expired 2020-01-01 00:00" in shown.texts["p"]
    assert ("p", {"class": "expires over"}) in shown.tags


def test_units_that_use_a_secret_are_named(served: Served) -> None:
    for name in ("web/db", "mail/box-1", "other"):
        put(served, name)
    assert page(served).texts["p"].count("none") == 3
    write_units(
        served.folder,
        {
            "web.service": ["--fresh", "db=web/db", "db-old=web/db:3"],
            "api.service": ["db=web/db"],
            "mail@.service": ["box=mail/box-%i"],
        },
    )
    shown = page(served)
    units = [
        "api.service", "mail@.service", "web.service", "web.service (version 3)"
    ]  # fmt: skip
    assert sorted(shown.texts["li"]) == units
    assert shown.texts["p"].count("none") == 1


def test_units_that_cannot_be_read_are_said_to_be_unknown(
    served: Served, capfd: pytest.CaptureFixture[str]
) -> None:
    put(served, "a")
    (served.folder / "units.json").write_text("{}\n{}")
    for _ in range(2):
        assert "not known: units.json cannot be read" in page(served).texts["p"]
    assert capfd.readouterr().err.count("the page shows no units") == 1
    write_units(served.folder, {"web.service": ["a=a"]})
    assert page(served).texts["li"] == ["web.service"]


def test_a_template_stands_for_its_instances_only(tmp_path: Path) -> None:
    write_units(tmp_path, {"mail@.service": ["a=x.y/%i/100%%", "b=plain"]})
    found = UsesFile(tmp_path / "units.json").current()
    assert isinstance(found, Uses)
    use = (Use("mail@.service"),)
    assert found.find("x.y/one/100%") == use
    assert found.find("plain") == use
    assert found.find("x_y/one/100%") == found.find("x.y//100%") == ()


def test_many_are_narrowed_by_a_part_of_the_name(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        put(served, f"app{number:02}/Key")
    shown = page(served, "/?name=P1")
    assert shown.texts["h2"] == [f"app1{number}/Key" for number in range(10)]
    assert "10 names with" in shown.texts["main"][0]
    assert ("input", "P1") in [(tag, given.get("value")) for tag, given in shown.tags]
    assert "No name has" in page(served, "/?name=%3Cb%3E").texts["main"][0]
    monkeypatch.setattr("legerd.page.MAX_SECRETS", 25)
    shown = page(served, "/?" + "&".join(f"x{n}=1" for n in range(50)))
    assert len(shown.texts["h2"]) == 25
    assert "25 of 40 are shown" in shown.texts["main"][0]


def test_nothing_from_elsewhere_is_loaded_and_no_script_runs(served: Served) -> None:
    headers = served.request("GET", "/", headers={})[2]
    policy = dict(
        part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";")
    )
    assert policy == {
        "default-src": "'none'",
        "style-src": "'self'",
        "img-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    assert headers["cache-control"] == "no-store"
    assert headers["x-frame-options"] == "DENY"
    links = [given["href"] for tag, given in page(served).tags if tag == "link"]
    for link, kind in zip(links, ("image/svg+xml", "text/css; charset=utf-8"), strict=True):
        status, body, found = served.request("GET", str(link), headers={})
        assert (status, found["content-type"]) == (200, kind)
        assert not re.search(rb"url\(|@import|<script", body)
