"""Leger: the containers of a host, kept in Git."""

__version__ = "0.1.0"
