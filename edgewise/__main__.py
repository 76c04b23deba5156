"""``python -m edgewise``: how one part starts another, whatever is on PATH."""

from edgewise.cli import main

if __name__ == "__main__":  # a fleet's processes load this module, too
    main()
