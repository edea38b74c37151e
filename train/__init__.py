"""From photographs to weights: the network, the loss, the pair generator and the training loop."""
