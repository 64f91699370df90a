"""Python's arguments that start a script once per GPU."""


def arguments(processes: int) -> list[str]:
    """What the program `torchrun` is, with the arguments that AlgoPerf's documentation gives. They
    redirect nothing: that one process alone prints is up to the script."""
    redirects = ",".join(f"{rank}:0" for rank in range(1, processes))
    return [
        "-m",
        "torch.distributed.run",
        f"--redirects={redirects}",
        "--standalone",
        "--nnodes=1",
        f"--nproc_per_node={processes}",
    ]
