"""What outlives the server: the journal, couplings, calibrations."""
