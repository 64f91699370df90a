"""Workloads on real data that ships in packages, small enough for one CPU core."""
