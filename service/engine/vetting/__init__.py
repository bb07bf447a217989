"""What a model file must show before it serves; all that runs a strange file is a child."""
