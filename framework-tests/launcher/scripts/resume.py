"""A checkpoint each epoch, with all that is needed to go on from the last one."""

import argparse
from pathlib import Path

import torch
from torch import nn, optim

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=2)
parser.add_argument("--resume", type=Path)
arguments = parser.parse_args()

torch.manual_seed(0)
net = nn.Linear(4, 2)
optimizer = optim.Adam(net.parameters())
start = 0
if arguments.resume is not None:
    checkpoint = torch.load(arguments.resume)
    net.load_state_dict(checkpoint["model_state_dict"])
    optimizer.load_state_dict(checkpoint["optimizer_state_dict"])
    start = checkpoint["epoch"] + 1
    print(f"resumed at epoch {start}")

for epoch in range(start, start + arguments.epochs):
    optimizer.zero_grad()
    loss = net(torch.ones(3, 4)).pow(2).mean()
    loss.backward()
    optimizer.step()
    torch.save(
        {
            "epoch": epoch,
            "model_state_dict": net.state_dict(),
            "optimizer_state_dict": optimizer.state_dict(),
            "loss": loss.item(),
        },
        f"checkpoint-{epoch}.tar",
    )
