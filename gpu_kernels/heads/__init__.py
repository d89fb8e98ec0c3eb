"""From the raw outputs of a network to boxes and ranked labels."""
