"""`python -m covey.platform.cli`: the `covey` command where the script is not on the path."""

from covey.platform.cli.app import main

if __name__ == "__main__":
    main()
