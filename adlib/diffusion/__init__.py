"""Latent diffusion (Wang & Tavakkoli): the method, its networks, its baselines."""
