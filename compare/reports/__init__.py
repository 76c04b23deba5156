"""What runs came to: as text, as a page, and beside one another."""
