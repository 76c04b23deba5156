"""A run, seen while it happens: one model of it, and two views, the terminal's and the page's.

It reads ``runs``, ``frames``, ``results`` and ``frames-rejected`` without a group and
commits nothing: the run does not know that somebody looks.
"""
