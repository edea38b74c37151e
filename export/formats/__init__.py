"""Other formats than ONNX: each converter in a file of its own, all of them listed in `known`."""
