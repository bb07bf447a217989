"""From a table of series to a verified ONNX file; the only place where torch lives."""
