"""The tier behind Kafka: a Spark/BigDL consumer group. Its twin ``consumers.gateway`` shows the shape it will have."""
