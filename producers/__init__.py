"""Images leave on schedule: cameras, and fleets of them in one process."""
