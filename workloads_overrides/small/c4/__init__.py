"""`c4_small`: a C4 workload of a size for one CPU core, on the documentation of AWS."""
