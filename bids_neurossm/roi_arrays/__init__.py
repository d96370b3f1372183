"""Arrays of regional series that somebody else made: read without running anything in them, and matched with people."""
