"""How a test gets a state of its own in each service."""
