"""Model files in other formats, made from the one that ships and kept in the cache."""
