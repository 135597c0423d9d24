"""Processes that torch itself starts, each with a model of its own."""

import torch
import torch.multiprocessing as mp


def train(rank: int, folder: str) -> None:
    torch.manual_seed(rank)
    torch.save(torch.nn.Linear(3, 3).state_dict(), f"{folder}/worker-{rank}.pt")


if __name__ == "__main__":
    mp.spawn(train, args=(".",), nprocs=2)
