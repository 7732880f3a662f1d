"""The ground floor: real weights and real text, with and without a network.

    hub        the one place that decides whether the Hugging Face Hub can be reached
    models     an encoder with its tokenizer, by name or folder            weights: its files, checked
    tasks      GLUE's nine tasks, or your own                              glue: their rows; own_data: your files
    metrics    GLUE's scores
    sentences/ English made up by rules, where there is no text to be had

The chapter *Fine-tuning a transformer* is about these files.
"""

from .._common.faces import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
