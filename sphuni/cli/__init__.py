"""The `sphuni` command. Nothing here loads torch or numpy before a subcommand runs."""
