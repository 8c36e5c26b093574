"""Chromium without a window, for the tests of the page. It talks to nobody but the page."""

from __future__ import annotations

import base64
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

#: as Debian names them, and others
BROWSERS, DRIVERS = ("chromium", "chromium-browser", "google-chrome"), ("chromedriver",)
#: set where a missing Chromium is a failure and no reason to leave tests out
REQUIRED = "REQUIRE_CHROMIUM"
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-prefers-reduced-motion",
    "--hide-scrollbars",
)


def _found(names: tuple[str, ...]) -> str | None:
    return next((path for name in names if (path := shutil.which(name))), None)


def missing() -> str | None:
    """Why there can be no test in Chromium; None where there can."""
    lacking = [names[0] for names in (BROWSERS, DRIVERS) if _found(names) is None]
    if not lacking:
        return None
    return f"no {' and no '.join(lacking)} here: the page is not tested (Debian: apt install chromium chromium-driver)"


def required() -> bool:
    """Whether a missing Chromium is a failure."""
    return os.environ.get(REQUIRED, "") not in ("", "0")


@contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    """A new one with an empty profile, which is removed with it."""
    browser, driver = _found(BROWSERS), _found(DRIVERS)
    assert browser is not None, missing()
    with tempfile.TemporaryDirectory(prefix="page-", ignore_cleanup_errors=True) as profile:
        options = Options()
        options.binary_location = browser
        for flag in (*_FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        running = webdriver.Chrome(options=options, service=Service(driver))
        try:
            yield running
        finally:
            running.quit()


def look(browser: webdriver.Chrome, *, width: int, height: int = 900, dark: bool = False) -> None:
    """A window of this size, and what the user prefers."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})


def console_errors(browser: webdriver.Chrome) -> list[str]:
    """What the console has said of errors since it was last asked."""
    entries: list[dict[str, Any]] = browser.get_log("browser")  # type: ignore[no-untyped-call]  # selenium has no types here
    return [str(entry["message"]) for entry in entries if entry["level"] in ("SEVERE", "WARNING")]


def poor_contrast(browser: webdriver.Chrome) -> list[str]:
    """Texts whose contrast with their ground is below 4.5, as WCAG's AA asks."""
    found: list[str] = browser.execute_script(
        """
        const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
        const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
          .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
          .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
        const ground = (element) => {
          for (let at = element; at; at = at.parentElement) {
            const colour = rgb(getComputedStyle(at).backgroundColor);
            if (colour.length < 4 || colour[3] > 0) return colour;
          }
          return [255, 255, 255];
        };
        const poor = [];
        for (const element of document.querySelectorAll('body *:not(svg *):not(script)')) {
          const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
          if (!own || !element.checkVisibility()) continue;
          const [one, other] = [light(rgb(getComputedStyle(element).color)), light(ground(element))];
          const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
          if (contrast < 4.5) poor.push(`${element.className || element.tagName}: ${contrast.toFixed(2)}`);
        }
        return [...new Set(poor)];
        """
    )
    return found


def screenshot(browser: webdriver.Chrome, path: Path) -> None:
    """The whole page, however long."""
    height = int(browser.execute_script("return document.documentElement.scrollHeight"))
    width = int(browser.execute_script("return window.innerWidth"))
    shot = browser.execute_cdp_cmd(
        "Page.captureScreenshot",
        {"captureBeyondViewport": True, "clip": {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}},
    )
    path.write_bytes(base64.b64decode(shot["data"]))
