"""The project's own commands: building the book, keeping generated files in step, and re-pointing the repository."""
