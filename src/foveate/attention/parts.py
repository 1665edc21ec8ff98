"""Every module that registers parts: importing this one makes all names known."""

from foveate.attention import array_context, cells, conv_glimpse, cores, dense_glimpse, heads, locations, picker, stop

__all__ = ["array_context", "cells", "conv_glimpse", "cores", "dense_glimpse", "heads", "locations", "picker", "stop"]
