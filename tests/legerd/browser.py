"""Chromium over its debugging pipe: opens pages, measures and pictures them."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PICTURES = Path(".cache/pictures")
PHONE, DESKTOP = (390, 844), (1280, 900)
_SECONDS = 60
# Chromium reads what it is asked from descriptor 3 and answers on 4.
_STARTER = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
os.dup2(ends[0], 3)
os.dup2(ends[1], 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""


def program() -> str | None:
    """Chromium, by the names that Debian and Fedora give it."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@dataclass
class Browser:
    """One tab without scripts, as its reader may have it; `said` is what its console complains."""

    process: subprocess.Popen[bytes]
    to: int
    answers: int
    session: str = ""
    number: int = 0
    received: bytes = b""
    said: list[str] = field(default_factory=list)

    def call(self, method: str, **parameters: Any) -> Any:
        """One call of the DevTools protocol; its result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self.number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, url: str, size: tuple[int, int], *, dark: bool = False) -> None:
        """Show `url` in a window of `size` (CSS pixels)."""
        width, height = size
        mobile = width < 600
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if mobile else 1,
            mobile=mobile,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.said.clear()
        self.call("Page.navigate", url=url)
        while self._read().get("method") != "Page.loadEventFired":
            pass

    def value(self, expression: str) -> Any:
        """What a JavaScript expression yields; the page itself has none."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def picture(self, name: str) -> Path:
        """A PNG of the page (of a long one its beginning), for somebody to look at."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        width, height = self.value("[innerWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": width, "height": min(height, 3000), "scale": 1}
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path = PICTURES / f"{name}.png"
        path.write_bytes(base64.b64decode(shot["data"]))
        return path

    def _read(self) -> Any:
        while b"\0" not in self.received:
            data = os.read(self.answers, 1 << 20)
            assert data, "chromium has ended"
            self.received += data
        message, _, self.received = self.received.partition(b"\0")
        found = json.loads(message)
        if found.get("method") in ("Log.entryAdded", "Runtime.consoleAPICalled"):
            self.said.append(json.dumps(found["params"]))
        return found


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Chromium with a profile of its own in `folder`."""
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"]
    options += ["--disable-background-networking", "--remote-debugging-pipe"]
    command = [str(program()), *options, f"--user-data-dir={folder}", "about:blank"]
    process = subprocess.Popen(
        [sys.executable, "-c", _STARTER, str(to_read), str(from_write), *command],
        pass_fds=(to_read, from_write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(folder)},
    )
    os.close(to_read)
    os.close(from_write)
    try:
        tab = Browser(process, to_write, from_read)
        target = tab.call("Target.createTarget", url="about:blank")["targetId"]
        attached = tab.call("Target.attachToTarget", targetId=target, flatten=True)
        tab.session = attached["sessionId"]
        for domain in ("Page", "Log", "Runtime"):
            tab.call(f"{domain}.enable")
        tab.call("Emulation.setScriptExecutionDisabled", value=True)
        yield tab
    finally:
        os.close(to_write)
        process.terminate()
        process.wait(_SECONDS)
        os.close(from_read)
