"""Events, counters and calibrations, as they are reported."""
