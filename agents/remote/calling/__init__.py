"""What one call asks, and what the log hears of it. Nothing here waits; the client does, a folder up."""
