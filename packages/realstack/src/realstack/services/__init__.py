"""What a service is: how its server is made, started, asked and named."""
