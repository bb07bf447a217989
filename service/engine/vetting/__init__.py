"""What a model file must show before it serves; all that touches a strange file is a child's."""
