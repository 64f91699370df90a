"""Competition entries: written out of this repository, and checked, whoever wrote them."""
