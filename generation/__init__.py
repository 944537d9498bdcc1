"""The diffusion scenario generator: noise, denoiser, sampler, guidance, gates."""
