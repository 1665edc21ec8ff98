"""The same seed gives the same numbers, on the same kind of device."""

import keras


def seeded(seed: int) -> None:
    """Seed every generator that Keras uses, and ask TensorFlow for operations without races."""
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
        for device in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(device, True)
