"""The same seed gives the same numbers, on the same kind of device."""

import os

import keras


def seeded(seed: int) -> None:
    """Seed every generator that Keras uses, and ask TensorFlow for operations without races.

    Must come before the first operation. Operations run one after the other (each in many threads): side by
    side, AddN sums up gradients in the order in which their memory happens to become free.
    """
    os.environ["TF_NUM_INTEROP_THREADS"] = "1"
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
        for device in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(device, True)
