"""What a user reads while a command works, and what is kept of it."""
