"""Real weights and real text, with and without a network.

    hub        whether the Hugging Face Hub can be reached, and its files
    models     an encoder with its tokenizer, by name or folder            weights: its files, found and checked
    tasks      GLUE's nine tasks, or your own text                         glue: GLUE's rows; own_data: your files
    text_files .csv, .tsv, .jsonl, .json, .parquet as columns              labels: what they mean; limits: of tokens
    metrics    GLUE's scores
    sentences/ English made by rules, for where no text is available

The chapter *Fine-tuning a transformer* is about these files.
"""

from .._common.faces import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
