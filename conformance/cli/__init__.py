"""The command ``service-conformance``: one file a subcommand."""
