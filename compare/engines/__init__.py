"""Engines beside one another: the same answers, and how fast."""
