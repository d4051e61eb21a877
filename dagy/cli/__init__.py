"""The command line: `app` is the program, and each command has a file of its own."""
