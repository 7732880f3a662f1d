import pytest

from blockprune_lib import plots


def found(draw):
    return plots.figure(draw, alt="a", caption="b").clashes


def clear(ax):
    ax.plot([0, 1], [0, 0])
    ax.text(0.5, 0.5, "far from it")
    ax.set(ylim=(-1, 1))


def crossed(ax):
    clear(ax)
    ax.text(0.5, 0.0, "struck\nthrough", va="center")


def grounded(ax):
    clear(ax)
    ax.text(0.5, 0.0, "on a ground", va="center", bbox={"facecolor": "white"})


def two_labels(ax):
    clear(ax)
    ax.text(0.51, 0.5, "over it")


def on_a_marker(ax):
    ax.plot([0.2, 0.5, 0.8], [0.5, 0.5, 0.5], "o")
    ax.text(0.45, 0.5, "hidden", va="center")


def legend(ax):
    ax.plot([0, 1], [0, 1], label="rises")
    ax.legend(loc="center")


def pointing(ax):
    clear(ax)
    ax.annotate("points at it", (0.5, 0.0), (0.6, -0.6), arrowprops={"arrowstyle": "-"})


def pointing_from_a_line(ax):
    clear(ax)
    ax.annotate("on it", (0.5, -0.5), (0.6, 0.0), va="center", arrowprops={"arrowstyle": "-"})


def crowded(ax):
    ax.set_xticks([0.5, 0.52], ["a long label", "another one"])


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (crossed, ("struck through × a line",)),
        (two_labels, ("far from it × over it",)),
        (on_a_marker, ("hidden × a line",)),
        (legend, ("the legend × a line",)),
        (crowded, ("tick a long label × tick another one",)),
        (pointing_from_a_line, ("on it × a line",)),
        (clear, ()),
        (pointing, ()),
        (grounded, ()),
    ],
)
def test_what_crosses_is_named(draw, words):
    assert found(draw) == words


def test_a_page_can_see_it():
    html = plots.figure(crossed, alt="a", caption="b")._repr_mimebundle_()["text/html"]
    assert 'data-clashes="struck through × a line"' in html
    assert "data-clashes" not in plots.figure(clear, alt="a", caption="b")._repr_mimebundle_()["text/html"]
