"""Real services for every test, from pip, isolated in a millisecond."""
