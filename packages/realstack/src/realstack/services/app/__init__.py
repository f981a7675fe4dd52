"""The app under test: the user's own ASGI application, served for real on a socket, and clients bound to it."""
