"""One camera: its schedule, its window, its account."""
