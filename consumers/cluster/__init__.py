"""The tier behind Kafka: a Spark consumer group, with BigDL or another engine.

``read`` frames in, ``model`` frames to classes, ``write`` results out, ``run`` the loop,
as in the gateway; ``spark`` is what Spark itself needs, ``jvm`` what runs inside it.
"""
