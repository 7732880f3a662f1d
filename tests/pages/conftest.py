"""The built book, served from this machine to a headless browser that can reach no other host."""

import contextlib
import functools
import http.server
import os
import shutil
import threading
from pathlib import Path

import pytest

HTML = Path(__file__).resolve().parents[2] / "_build" / "html"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def missing(reason):
    """Skip where nobody asked for the pages; with BLOCKPRUNE_PAGES=1, as in CI, a page not looked at is a failure."""
    return pytest.fail(reason) if os.environ.get("BLOCKPRUNE_PAGES") else pytest.skip(reason)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@contextlib.contextmanager
def serving(folder):
    """Serve a folder to this machine alone; yields its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def site():
    if not (HTML / "index.html").exists():
        missing("there is no built book; run make book")
    with serving(HTML) as address:
        yield address


@pytest.fixture(scope="session")
def browser():
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        missing(f"no browser found; install one of {', '.join(BROWSERS)}")
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, site):
    """Open a page of the book at a width; returns it with its errors and the requests that left this machine."""
    with visits(browser, site) as open_page:
        yield open_page


@contextlib.contextmanager
def visits(browser, site):
    """A function that opens pages of a site, each in a context of its own, with every other host blocked."""
    opened = []

    def open_page(name, width=1280, dark=False, **more):
        settings = {"viewport": {"width": width, "height": 900}, "reduced_motion": "reduce"} | more
        context = browser.new_context(color_scheme="dark" if dark else "light", **settings)
        opened.append(context)
        page = context.new_page()
        page.blocked, page.errors = [], []

        def route(request_route):
            url = request_route.request.url
            if url.startswith((site, "data:", "blob:")):
                return request_route.continue_()
            page.blocked.append(url)
            return request_route.abort()

        context.route("**/*", route)
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.on("console", lambda m: page.errors.append(m.text) if m.type == "error" else None)
        page.goto(f"{site}/{name}.html", wait_until="load")
        page.wait_for_timeout(300)
        return page

    try:
        yield open_page
    finally:
        for context in opened:
            context.close()
