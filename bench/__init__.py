"""Benchmarks: what must be fast, against the thing named, in the same run."""
