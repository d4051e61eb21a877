"""`python -m dagy` is the `dagy` command."""

from dagy.cli.app import main

if __name__ == "__main__":
    main()
