"""MQTT -> Kafka, nothing lost."""
