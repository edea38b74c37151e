"""Train the fusion networks: the network family, its loss, the pair generator and the training loop.

Nothing is imported here: `import ufafuse.train` stays instant, and torch is loaded by the modules that need it.
"""
