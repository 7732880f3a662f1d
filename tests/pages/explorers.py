"""What the tests of explorers share: driving one on a page, and comparing its figures with the library's."""

import math

PLACE = ".bpw-place"
#: Two frames: one in which an explorer paints, one after.
PAINTED = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 0))))"


def shown(page, at=0):
    """The explorer's frame, scrolled to and drawn."""
    page.locator(PLACE).nth(at).scroll_into_view_if_needed()
    page.wait_for_function(f"document.querySelectorAll('{PLACE}')[{at}].querySelector('.bpw')?.figures", timeout=20_000)
    return page.locator(PLACE).nth(at).locator(".bpw")


def put(page, settings, at=0):
    """Set traits as a kernel would, and wait until they are painted."""
    script = f"""async (settings) => {{
      const place = document.querySelectorAll('{PLACE}')[{at}];
      for (const [name, value] of Object.entries(settings)) place.explorer.set(name, value);
      await {PAINTED};
    }}"""
    page.evaluate(script, settings)


def figures(page, at=0):
    """The figures that the explorer shows now."""
    frame = f"document.querySelectorAll('{PLACE}')[{at}].querySelector('.bpw')"
    return page.evaluate(f"async () => {{ await {PAINTED}; return {frame}.figures; }}")


def trait(page, name, at=0):
    return page.evaluate(f"name => document.querySelectorAll('{PLACE}')[{at}].explorer.get(name)", name)


def same(found, expected, tolerance=1e-6, where=""):
    """Assert that two trees of figures agree, numbers to a relative tolerance."""
    if isinstance(expected, dict):
        assert set(found) == set(expected), where
        for key in expected:
            same(found[key], expected[key], tolerance, f"{where}/{key}")
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected), where
        for number, pair in enumerate(zip(found, expected, strict=True)):
            same(*pair, tolerance, f"{where}/{number}")
    elif isinstance(expected, (int, float)) and not isinstance(expected, bool):
        assert math.isclose(found, expected, rel_tol=tolerance, abs_tol=1e-7), (
            f"{where}: {found} on the page, {expected}"
        )
    else:
        assert found == expected, where
