"""Speed as ratios, side by side in one run: ``make bench``.

``__main__`` runs the cases in turn and prints the table; ``cases`` holds what each
measures in a process of its own.
"""
