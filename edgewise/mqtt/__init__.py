"""MQTT 5, as little of it as the parts need, without threads.

The bytes are made and read by the library ``mqtt5`` (sans-I/O, in Rust); this package
adds the socket, the session and the rules of who is acknowledged when. One process can
drive thousands of connections from one selector, which client libraries with a thread
or a ``select`` of their own can not.

* ``connection``: one TCP connection, packets in and out
* ``inbox``: a subscriber that acknowledges only when told to (bridge, gateway)
* ``outbox``: a publisher with a window, confirmations counted (cameras)
* ``presence``: who is there, by retained status messages with a last will
"""
