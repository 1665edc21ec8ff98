"""The cores: recurrent cells that take in one glimpse vector a fixation. All are Keras cells: `cell(x, states)`."""

from typing import Any

import keras

from foveate.attention.registry import part
from foveate.attention.settings import whole


@part("core", "lstm")
def lstm(units: int = 256, **kwargs: Any) -> keras.layers.Layer:
    """Long short-term memory (Hochreiter and Schmidhuber 1997; Yarin 2017, eq. 2.11-2.15); states h and c, (B, units).

    f = s(W_f x + U_f h + b_f), i and o alike; c' = f c + i tanh(W_c x + U_c h + b_c); h' = o tanh(c'). b_f begins at 1.
    """
    whole("units", units)
    return keras.layers.LSTMCell(units, **kwargs)


@part("core", "gru")
def gru(units: int = 256, **kwargs: Any) -> keras.layers.Layer:
    """Gated recurrent unit (Cho et al. 2014); one state (B, units)."""
    whole("units", units)
    return keras.layers.GRUCell(units, **kwargs)


@part("core", "relu")
def relu(units: int = 256, **kwargs: Any) -> keras.layers.Layer:
    """h' = relu(W x + U h + b) (Mnih et al. 2014, section 4); U begins as the identity (Le, Jaitly and Hinton 2015)."""
    whole("units", units)
    return keras.layers.SimpleRNNCell(units, activation="relu", recurrent_initializer="identity", **kwargs)
