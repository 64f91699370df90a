"""`ogbg_small`: AlgoPerf's OGBG graph network, scaled down, on 30 labels of real molecules."""
