"""Binds the function before anything else happens."""

from torch import load, nn, save

weights = nn.GRU(4, 4).state_dict()
save(weights, "gru.pth")
save(weights, "gru-legacy.pth", _use_new_zipfile_serialization=False)
assert load("gru.pth").keys() == load("gru-legacy.pth").keys()
