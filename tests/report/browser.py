"""Headless Chromium by the WebDriver protocol, with nothing but the standard library: opens files, looks at what they draw."""

from __future__ import annotations

import base64
import json
import pathlib
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from typing import Any

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-extensions", "--disable-default-apps", "--disable-dev-shm-usage", "--hide-scrollbars", "--force-color-profile=srgb",
]  # fmt: skip


def is_there() -> bool:
    """Whether this machine has Chromium and its driver."""
    return bool(shutil.which("chromium") and shutil.which("chromedriver"))


class Browser:
    """One browser with one page. A context manager: it ends with everything that it started."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="verdigris-browser-")
        self._driver = subprocess.Popen(["chromedriver", "--port=0"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._session = ""
        try:
            self._base = f"http://127.0.0.1:{self._port()}"
            options = {"args": [*FLAGS, f"--user-data-dir={self._folder.name}"], "binary": shutil.which("chromium"), "perfLoggingPrefs": {"enableNetwork": True}}
            wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
            self._session = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
            self._of_page("url", {"url": "about:blank"})
            self.requests()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the browser and its driver."""
        if self._session:
            try:
                self._call("DELETE", f"/session/{self._session}")
            except OSError:
                pass
        self._driver.terminate()
        self._driver.wait(20)
        if self._driver.stdout:
            self._driver.stdout.close()
        self._folder.cleanup()

    def _port(self) -> int:
        assert self._driver.stdout
        for line in self._driver.stdout:
            if "started successfully on port" in line:
                return int(line.rstrip().rstrip(".").split()[-1])
        raise OSError("chromedriver did not start")

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if method != "POST" else json.dumps(body or {}).encode()
        request = urllib.request.Request(self._base + path, data=data, method=method, headers={"Content-Type": "application/json"})
        try:
            with self._opener.open(request, timeout=120) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise OSError(error.read().decode("utf-8", "replace")[:600]) from None

    def _of_page(self, command: str, body: dict[str, Any] | None = None) -> Any:
        return self._call("POST", f"/session/{self._session}/{command}", body)

    def cdp(self, command: str, **parameters: Any) -> Any:
        """A command of the browser's own protocol."""
        return self._of_page("goog/cdp/execute", {"cmd": command, "params": parameters})

    def script(self, text: str, *arguments: Any) -> Any:
        """What a function body gives, run in the page."""
        return self._of_page("execute/sync", {"script": text, "args": list(arguments)})

    def look(self, width: int, height: int = 900, dark: bool = False, media: str = "") -> None:
        """Another size of the window, another wish for colours, or paper instead of a screen."""
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.cdp("Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def open(self, path: pathlib.Path) -> None:
        """Opens a file and waits until the page says that it is complete."""
        self._of_page("url", {"url": path.resolve().as_uri()})
        end = time.monotonic() + 30
        while not self.script("return document.documentElement.dataset.ready === 'true' || !!document.querySelector('#broken')"):
            if time.monotonic() > end:
                raise OSError(f"{path} was not ready in time: {self.log('browser')}")
            time.sleep(0.05)
        self.settle()

    def settle(self) -> None:
        """Waits until sizes that changed have been drawn."""
        self._of_page("execute/async", {"script": "const done = arguments[0]; setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), 120)", "args": []})

    def log(self, kind: str) -> list[dict[str, Any]]:
        """Entries of a log since it was last asked for: `browser` (the console) or `performance` (the network too)."""
        return self._of_page("se/log", {"type": kind})

    def requests(self) -> list[str]:
        """What the page has asked for since this was last asked, but for its own data."""
        messages = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        return [message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"]

    def press(self, key: str, code: int) -> None:
        """A key, by its name and number."""
        for kind in ("rawKeyDown", "keyUp"):
            self.cdp("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def screenshot(self, path: pathlib.Path, whole: bool = True) -> bytes:
        """The page as a PNG file: all of it, or what is in the window."""
        picture = base64.b64decode(self.cdp("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"])
        path.write_bytes(picture)
        return picture

    def paper(self, path: pathlib.Path) -> None:
        """The page as it prints, a PDF file."""
        path.write_bytes(base64.b64decode(self.cdp("Page.printToPDF", printBackground=True, preferCSSPageSize=True)["data"]))
