"""Many pairs and stacks at once: manifests, storage behind URLs, a cluster."""
