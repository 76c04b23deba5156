"""The embedded Kafka."""
