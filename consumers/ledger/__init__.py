"""What became of every frame: results and rejections joined with the plan, the accounts and the truth.

``collect`` reads the topics, ``truth`` has the labels, ``table`` makes one row a frame and
tier, ``summary`` counts the rows, ``run`` is the part.
"""
