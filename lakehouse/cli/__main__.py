"""`python -m lakehouse.cli` is `python -m lakehouse`."""

from lakehouse.cli import main

if __name__ == "__main__":
    main()
