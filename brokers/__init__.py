"""Where frames travel and none is lost: embedded brokers, and the bridge between them."""
