"""What stands in for the outside world, in tests, rehearsals and measurements: data of an invented vendor."""
