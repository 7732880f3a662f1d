import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from blockprune_lib import plots
from blockprune_lib._common import theme


def draw(ax):
    ax.plot([1, 2, 3], [3, 1, 2], color=plots.COLOURS["dense"], label="dense")


def on_a_page(drawn):
    html = drawn._repr_mimebundle_()["text/html"]
    return [base64.b64decode(x).decode() for x in re.findall(r"base64,([^\"]+)\"", html)]


def test_both_themes_carry_alt_and_caption():
    bundle = plots.figure(draw, alt='A "line"', caption="Dense & block", name="fig-x")._repr_mimebundle_()
    html = bundle["text/html"]
    assert html.count('alt="A &quot;line&quot;"') == 2
    assert re.search(r'<figcaption><span class="bp-number">Fig. \d+.</span> Dense &amp; block</figcaption>', html)
    assert 'id="fig-x"' in html
    images = on_a_page(plots.figure(draw, alt="a", caption="b"))
    assert theme.PALETTES["light"]["dense"].lower() in images[0].lower()
    assert theme.PALETTES["dark"]["dense"].lower() in images[1].lower()
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    assert bundle["text/plain"] == 'A "line"'


def test_a_page_gets_the_same_picture_in_fewer_bytes():
    drawn = plots.figure(
        lambda ax: ax.plot([k / 7 for k in range(50)], [k**2 / 3 for k in range(50)]), alt="a", caption="b"
    )
    for whole, part in zip((drawn.light, drawn.dark), on_a_page(drawn), strict=True):
        assert len(part) < 0.85 * len(whole)
        # Every letter keeps its size, every mark its order and its place to a hundredth of a point.
        assert re.findall(r"scale\([^)]*\)", part) == re.findall(r"scale\([^)]*\)", whole)
        before, after = (list(ElementTree.fromstring(text).iter()) for text in (whole, part))
        before = [each for each in before if "www.w3.org/2000/svg" in each.tag and not each.tag.endswith("metadata")]
        assert [each.tag for each in before] == [each.tag for each in after]
        for one, other in zip(before, after, strict=True):
            assert one.attrib.keys() == other.attrib.keys()
            for name in one.attrib.keys() & {"d", "x", "y", "transform"}:
                numbers = [[float(x) for x in re.findall(r"-?\d+\.?\d*", each.attrib[name])] for each in (one, other)]
                assert numbers[0] == pytest.approx(numbers[1], abs=0.0051)
            for name in one.attrib.keys() - {"d", "x", "y", "transform"}:
                assert " ".join(one.attrib[name].split()) == " ".join(other.attrib[name].split())


def test_the_same_numbers_give_the_same_bytes():
    first = plots.figure(draw, alt="a", caption="b")
    assert first.light == plots.figure(draw, alt="a", caption="b").light


def test_colours_are_restored_and_canvases_closed():
    import matplotlib.pyplot as plt

    before = dict(plots.COLOURS)

    def fails(ax):
        raise RuntimeError("drawing failed")

    with pytest.raises(RuntimeError, match="drawing failed"):
        plots.figure(fails, alt="a", caption="b")
    assert before == plots.COLOURS
    assert plt.get_fignums() == []


@pytest.mark.parametrize("missing", [{"alt": ""}, {"caption": "  "}, {"alt": None}])
def test_alt_and_caption_are_demanded(missing):
    with pytest.raises(ValueError, match=next(iter(missing))):
        plots.figure(draw, **({"alt": "a", "caption": "b"} | missing))


def test_draw_must_be_a_function():
    with pytest.raises(TypeError, match="draw"):
        plots.figure([1, 2], alt="a", caption="b")


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(("mode", "ground"), [("light", "#ffffff"), ("dark", "#121212")])
def test_colours_contrast_with_the_page(mode, ground):
    for name, colour in theme.PALETTES[mode].items():
        if name == "grid":
            continue
        high, low = sorted([luminance(colour), luminance(ground)], reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, f"{mode} {name}"


def test_a_page_counts_its_figures_and_a_name_keeps_its_number():
    plots.start_numbering()
    numbers = [plots.figure(draw, alt="a", caption="b", name=name).number for name in ("one", "two", "one", "")]
    assert numbers == [1, 2, 1, 3]


def test_captions_are_marked_up():
    html = plots.figure(draw, alt="a", caption="`bp.pack` *here*: 2 * 3 * 4 < 25")._repr_mimebundle_()["text/html"]
    assert "<code>bp.pack</code> <em>here</em>: 2 * 3 * 4 &lt; 25</figcaption>" in html


@pytest.mark.parametrize("width", [4.0, 7.0, 8.0])
def test_text_is_nine_pixels_on_a_phone(width):
    svg = plots.figure(draw, alt="a", caption="b", size=(width, 3)).light
    points = min(float(scale) * 100 for scale in re.findall(r" scale\((0\.\d+) -", svg))
    assert points * min(1, 350 / (96 * width)) * 96 / 72 >= 9


def test_few_colours_take_fewer_bytes_and_look_the_same() -> None:
    """A picture of many colours; and one that has few already, which stays as it is."""
    from PIL import Image

    from blockprune_lib._common.theme import in_few_colours

    def png(pixels: np.ndarray) -> bytes:
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "PNG")
        return content.getvalue()

    rows, columns = np.mgrid[0:120, 0:160]
    noisy = np.random.default_rng(0).integers(0, 3, (120, 160))
    many = np.stack([rows + noisy, columns + noisy, rows // 2, np.full_like(rows, 255)], 2).astype(np.uint8)
    smaller = in_few_colours(png(many))
    assert len(smaller) < len(png(many))
    found = np.asarray(Image.open(io.BytesIO(smaller)).convert("RGBA"))
    assert found.shape == many.shape
    assert np.abs(found.astype(int) - many).mean() < 8
    plain = png(np.zeros((4, 4, 4), np.uint8))
    assert len(in_few_colours(plain)) <= len(plain)
