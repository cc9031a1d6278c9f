"""Jobs: their states, their table, their scheduling."""
