"""Unit tests on any machine: a slow one is no failure."""

from hypothesis import settings

settings.register_profile("unit", deadline=None)
settings.load_profile("unit")
