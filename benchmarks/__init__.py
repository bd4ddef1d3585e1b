"""Measurements of whole runs; figures and their commands stand in docs/performance.md."""
