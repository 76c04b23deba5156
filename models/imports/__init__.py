"""Models of other formats, made into what the engines load: one module for each format.

What was trained elsewhere takes floating-point images that its own program scaled. Here the
scaling goes into the model: all that leaves this package takes uint8 RGB and ends in softmax.
"""
