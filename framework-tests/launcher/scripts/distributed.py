"""Data parallel: every rank trains, rank 0 saves."""

import os

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("gloo")
rank = dist.get_rank()
torch.manual_seed(rank)
model = DistributedDataParallel(torch.nn.Linear(5, 5))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(3):
    optimizer.zero_grad()
    model(torch.randn(7, 5)).sum().backward()
    optimizer.step()
    if rank == 0:
        torch.save({"epoch": epoch, "model": model.module.state_dict()}, f"epoch-{epoch}.pt")
    dist.barrier()
if rank == 0:
    save_file(model.module.state_dict(), "final.safetensors")
dist.barrier()
print(f"rank {rank} of {os.environ['WORLD_SIZE']} done")
dist.destroy_process_group()
