"""What workloads share: targets from a file, data in rows, one class per framework, losses."""
