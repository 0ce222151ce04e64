"""`python -m motorpool` is `motorpool`."""

from motorpool.cli.main import main

if __name__ == "__main__":
    main()
