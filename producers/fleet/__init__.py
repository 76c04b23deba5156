"""Many cameras in one process, driven by one selector."""
