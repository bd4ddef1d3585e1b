"""Bytes of a raw file to records. Knows formats and positions; knows neither tables nor the rules of a source."""
