"""The shapes that a softmax cross-entropy takes."""


def check_loss_shapes(
    labels: tuple[int, ...], logits: tuple[int, ...], mask: tuple[int, ...]
) -> None:
    """Raises ValueError unless labels and mask have one shape and logits one more axis."""
    if tuple(labels) != tuple(mask) or tuple(logits[:-1]) != tuple(labels):
        shapes = ", ".join(str(tuple(shape)) for shape in (labels, logits, mask))
        raise ValueError(f"labels (...), logits (..., classes), mask (...) expected, got {shapes}")
