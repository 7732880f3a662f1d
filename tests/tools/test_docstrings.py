import pytest
from docutils.core import publish_string

from tools.docstrings import to_rst


def shown(*lines, **more):
    """What a reader sees of a docstring, without the markup of HTML."""
    text = publish_string("\n".join(to_rst(lines, **more)), writer_name="pseudoxml").decode()
    return text


def test_arguments_under_each_other_become_a_list_of_terms():
    found = to_rst(["A sum.", "", "x        (T, N) float;", "         any strides", "bias     (M,) or None"])
    assert found == ["A sum.", "", "``x``", "   (T, N) float;", "   any strides", "``bias``", "   (M,) or None"]
    assert shown("x   one", "y   two").count("<definition_list_item>") == 2


@pytest.mark.parametrize(
    "line", ["y = x Wᵀ |y| * 2", "a trailing_ word", "`datasets.Dataset`s of `x`", "*kept* arithmetic, 2 * 3 * 4"]
)
def test_signs_stay_signs(line):
    text = shown(line)
    assert "system_message" not in text
    assert "problematic" not in text


def test_examples_stay_as_they_are():
    lines = [">>> f(2, *args)", "a  b"]
    assert to_rst(["Text.", "", *lines])[2:] == lines


def test_names_that_are_known_are_linked_and_others_are_code():
    found = to_rst(["See `pack` and `other`, not `bp.pack`s."], {"pack": "lib.pack"})
    assert found == ["See :py:obj:`pack <lib.pack>` and ``other``, not :py:obj:`bp.pack <lib.pack>`\\ s."]


def test_nothing_gives_nothing():
    assert to_rst([]) == []
    assert to_rst(["", "  "]) == []


def test_text_of_the_language_is_code_whose_quotes_stay_straight():
    assert to_rst(['`keep`="a b": layers; "spread" or scope="model".'])[0] == (
        '``keep``="a b": layers; ``"spread"`` or ``scope="model"``.'
    )
    assert to_rst(['`scope` "model"']) == ['``scope`` ``"model"``']


def test_a_block_that_is_set_in_is_an_example_and_a_list_that_is_set_in_a_list():
    assert to_rst(["So:", "", "    a = f(x)", "    b(*a)"])[1:] == [
        "", ".. code-block:: python", "", "   a = f(x)", "   b(*a)",
    ]  # fmt: skip
    assert shown("    x   one", "    y   two").count("<definition_list_item>") == 2
