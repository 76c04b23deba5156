"""A run's parts, its folder, and what was measured before it."""
