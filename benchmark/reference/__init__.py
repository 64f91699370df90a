"""AlgoPerf's own reference test, run for a matrix of submissions, workloads and frameworks."""
