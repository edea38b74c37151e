"""TensorRT and TensorRT-RTX, the engines of NVIDIA GPUs: one file for what is asked of each of their libraries."""
