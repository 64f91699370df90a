"""Runs AlgoPerf's own `submission_runner`, unmodified, with this project's workloads registered."""
