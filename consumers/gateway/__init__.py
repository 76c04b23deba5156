"""The tier beside the MQTT broker: Keras in one process.

``read`` frames in, ``model`` frames to classes, ``write`` results out, ``run`` the loop.
"""
