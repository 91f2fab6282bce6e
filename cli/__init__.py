"""The command `stabledreamer`: one file a subcommand."""
