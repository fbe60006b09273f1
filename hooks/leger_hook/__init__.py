"""What secrets-hook does; it imports the standard library only."""
