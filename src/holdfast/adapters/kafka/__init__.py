"""The log port on Kafka. `KafkaLog` stands in `log`; the catalogue of topics is read without Kafka's client."""
