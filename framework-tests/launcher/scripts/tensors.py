"""Weights without pickle."""

import torch
from safetensors.torch import load_file, save_file

torch.manual_seed(0)
encoder, decoder = torch.nn.Linear(6, 3), torch.nn.Linear(3, 6)
autoencoder = torch.nn.Sequential(encoder, torch.nn.Tanh(), decoder)
before = autoencoder.state_dict()
save_file(before, "autoencoder.safetensors", metadata={"format": "pt"})

after = load_file("autoencoder.safetensors")
assert all(torch.equal(before[name], after[name]) for name in before)
