"""YAML as people write it, read safely: plain values only, 2e-5 is a number, and a key given twice is an error.

YAML 1.1, which PyYAML follows, takes 2e-5 for text and the last of two equal keys: noticed hours later, if at all.
"""

from __future__ import annotations

import re
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [key.value for key, _ in getattr(node, "value", []) if isinstance(key, yaml.ScalarNode)]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice[0]!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


_FLOAT = re.compile(r"[-+]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9]+)[eE][-+]?[0-9]+$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def load(text: str, where: str) -> Any:
    """The value that `text` holds; raises ValueError, saying where, for text that is not YAML or would build an object.

    >>> load("{learning_rate: 2e-5, task: rte}", "a recipe")
    {'learning_rate': 2e-05, 'task': 'rte'}
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"{where} cannot be read: {' '.join(str(error).split())}") from None
