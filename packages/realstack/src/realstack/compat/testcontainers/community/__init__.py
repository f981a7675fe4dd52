"""The names of testcontainers 4.15, which moved its containers here."""
