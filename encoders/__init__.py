"""The self-supervised scene encoder, its training and its use on a lake."""
