"""``python -m edgewise``: how one part starts another, whatever is on PATH."""

from edgewise.cli import main

main()
