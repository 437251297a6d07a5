"""A small convolutional Keras network. The loop is aifctl's own."""

from tensorflow import keras


def build(params, signature):
    channels = params.get("channels", 16)
    pixels = keras.Input(signature.input("pixels").shape, name="pixels")
    x = keras.layers.Reshape((8, 8, 1))(pixels)
    for width in (channels, 2 * channels):
        x = keras.layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.ReLU()(x)
    x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dropout(params.get("dropout", 0.2))(x)
    # float32 also under mixed precision: a softmax over half-precision logits loses digits.
    return keras.Model(pixels, keras.layers.Dense(signature.classes, activation="softmax", dtype="float32")(x))
