"""Predicts on paper what optimizers cost per step on V100, A100 and H100 GPUs, a roofline estimate.

A training step is taken to be the sum of two parts, each computed per device.

The model's forward and backward pass, which the optimizer does not change: its matrix products, at
a share `efficiency` of the device's peak (TF32 where there is any, as AlgoPerf runs), and a rest,
everything else. The rest is what a reference entry's step took on V100s, less its products and less
its optimizer. It is carried to another device by the ratio of memory bandwidths and shared by the
devices, as if bound by memory. How much of it waits for the host (input pipeline, Python) the logs
do not tell; the interval reaches to a rest that no device makes shorter.

The optimizer: each batch of matrix products takes the longer of FLOPs / (efficiency * peak) and
bytes / bandwidth; all other operations bytes / bandwidth; every operation a launch; factorisations
(eigendecomposition, QR, SVD) their standard operation count at one rate, which follows the memory
bandwidth from device to device; a refresh is shared by the devices and its results gathered over
NVLink. Nothing overlaps.

Bandwidths, peaks and links are those of the data sheets (`gpus`). V100 logs give (`calibrate`):

* efficiency: between the largest share of peak that a model's products alone explain and 1. No log
  tells more: products and rest of a model are seen as one sum.
* seconds per launch and the rate of factorisations: Shampoo's steps less those of schedule-free
  AdamW with the same batches and framework, which their launches and factorisations must explain.
  Only wmt has factorisations enough to tell their rate. Launches come out as free: in these logs
  they hide behind other work. The interval reaches to 5 microseconds each, which is assumed.
* iterations of CASPR Adaptive's roots, per workload: they depend on the data, so that the logs of
  one workload say little of another's.

Not identified, and so not in the model: limits of the input pipeline, overlap of communication with
the backward pass, an entry's additional forward passes, and software: in JAX the speech models'
steps took more than five times as long under one version of the harness as under another.

Whole steps are taken from the newest logs that have the model: predictions are of that software.

Intervals span all combinations of these extremes; no probability is attached to them, and how many
measured steps lie inside is a result of `scripts/predict.py --validate`.
"""
