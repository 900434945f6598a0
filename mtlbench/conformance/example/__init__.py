"""A plugin folder with the dataset that conformance trials train on."""
