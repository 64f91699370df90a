"""Language models of the LLaMA family, as trained on C4 by the papers on low-rank training."""
