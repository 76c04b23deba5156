"""The hallway that all parts share: messages, topics, data, clients, errors, the command line.

No part's own work stands here: images leave in ``producers``, travel in
``brokers``, become results in ``consumers`` and a verdict in ``compare``.
"""

from importlib.metadata import version

__version__ = version("edgewise")
