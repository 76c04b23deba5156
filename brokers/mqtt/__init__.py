"""The embedded MQTT brokers: mosquitto where it is installed, else HiveMQ Community Edition."""
