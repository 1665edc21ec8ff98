"""Whole-slide images of lymph nodes, read by a recurrent visual attention model."""
