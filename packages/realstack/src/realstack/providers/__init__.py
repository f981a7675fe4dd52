"""Where a service comes from: programs found on this machine, or fetched once."""
