"""Spark as this kit uses it: the session, the checkpoint, the parent of its Python workers, its progress."""
