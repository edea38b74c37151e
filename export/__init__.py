"""From weights to verified ONNX files and TensorRT engines."""
