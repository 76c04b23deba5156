"""What is here, what is missing, and the command that mends it.

``examine`` looks at this machine and touches nothing; ``probe_mqtt`` asks a foreign
MQTT broker, on topics of its own, whether it would lose frames.
"""



