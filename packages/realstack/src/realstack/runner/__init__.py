"""The unified runner: categories of tests, the services they need, what it all took."""
