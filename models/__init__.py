"""What both tiers classify with: networks, training, and the shipped weights with a card each."""
