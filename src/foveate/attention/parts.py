"""Every module that registers parts: importing this one makes all names known."""

from foveate.attention import cores, dense_glimpse, locations, picker

__all__ = ["cores", "dense_glimpse", "locations", "picker"]
