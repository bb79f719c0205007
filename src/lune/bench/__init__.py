"""``lune bench``: every cell of a benchmark's table is a run folder; tables and figures are made from folders alone."""
