"""The `workbench` command: the same verbs as in Python."""
