"""What all contenders share."""

LEARNING_RATE, WEIGHT_DECAY = 1e-4, 0.1
SCALE = 0.02  # deviation of the normal numbers that parameters and gradients are
LONGEST = 8192  # a longer side is left out, by peers that can
