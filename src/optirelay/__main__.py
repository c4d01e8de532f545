"""`python -m optirelay` is the command."""

from optirelay.cli.main import main

if __name__ == "__main__":
    main()
