"""``python -m pgbaton``: the command, where its script is not in the path."""

from pgbaton.cli import main

if __name__ == "__main__":
    main()
