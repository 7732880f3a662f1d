"""The checkers of the book's exercises, one file per chapter; `blockprune_lib.teaching.check` finds them here."""
