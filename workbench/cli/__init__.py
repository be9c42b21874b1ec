"""The command line interface `workbench`."""
