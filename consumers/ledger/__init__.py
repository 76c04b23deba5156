"""What became of every frame: results and rejections joined with the plan, the accounts and the truth.

``collect`` reads the topics, ``truth`` has the labels, ``table`` makes one row a frame and
tier, ``summary`` counts the rows, ``run`` is the part. ``warmup``, ``cameras``, ``backlog`` and
``clocks`` look at the rows as arrays (``columns``); ``rules`` judges what they found (``facts``) by
the run's ``limits``, and ``causes`` puts the cause before what followed from it.
"""
