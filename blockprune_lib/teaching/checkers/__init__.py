"""The checkers of the book's exercises, one module a chapter; `blockprune_lib.teaching.check` finds them here."""
