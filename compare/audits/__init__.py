"""Doubts about a finished run."""
