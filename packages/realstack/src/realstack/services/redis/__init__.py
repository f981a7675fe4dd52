"""Redis: its server, and the kit's own way to talk to it."""
