"""Assembly and lifetimes: picks the provider, starts the service, isolates the test, ends everything."""
