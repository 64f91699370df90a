"""Preparation of C4: from a source's documents to shards of tokens, in processes side by side."""
