"""From an ONNX file and real pairs to an INT8 ONNX file."""
