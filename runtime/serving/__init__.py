"""A server that fuses: the Open Inference Protocol over REST and gRPC, and a plain ``POST /fuse``."""
