"""The checkers of the book's exercises, one module a chapter; `blockprune_lib.exercises.check` finds them here."""
