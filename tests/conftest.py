"""The browser that tests drive."""

import importlib.util
import os
import shutil

import pytest

VARIABLE = "CHALKGRAD_BROWSER"
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


def pytest_collection_modifyitems(items):
    """What needs the browser comes last: playwright keeps an event loop running, beside which no other may start."""
    items.sort(key=lambda item: "browser" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium: the one that the variable names, or one on the PATH.

    Where it is missing, the tests that need it are skipped with the reason; where `CI` is set that is an error.
    """
    program = os.environ.get(VARIABLE) or next(filter(None, map(shutil.which, NAMES)), None)
    missing = []
    if program is None:
        missing.append(f"no browser on the PATH ({', '.join(NAMES)}), and {VARIABLE} names none")
    if importlib.util.find_spec("playwright") is None:
        missing.append("no playwright: pip install '.[test]'")
    if missing:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("; ".join(missing))
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program)
        yield launched
        launched.close()
