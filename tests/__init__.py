"""A package with a file, so that the `tests` that another project installs does not hide it."""
