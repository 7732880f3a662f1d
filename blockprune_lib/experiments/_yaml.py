"""YAML read safely, with numbers as people write them: 5e-4 is a number here, as in YAML 1.2 and in JSON."""

from __future__ import annotations

import re
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader follows YAML 1.1, where 5e-4, without a point, is text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def load_yaml(text: str) -> Any:
    """The values in `text`; raises ValueError in one line for what is no YAML, and for tags that would build objects.

    >>> load_yaml("lam: 5e-4")
    {'lam': 0.0005}
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
