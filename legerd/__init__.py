"""legerd: a setec-compatible secrets server for one host."""
