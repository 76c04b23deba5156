"""What runs inside Spark's JVM with ``--engine bigdl``, in Scala, and how it is compiled.

From Kafka's row to Kafka's row no Python takes part: ``Frame`` and ``Picture`` open and check
a frame as ``edgewise.messages`` and ``edgewise.codecs`` do, ``BigDl`` classifies, ``Result``
writes, ``ClassifyFrames`` does it all for a partition.
"""
