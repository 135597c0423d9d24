import torch
import torch.distributed.checkpoint as dcp

torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
state = {"w": torch.zeros(2)}
dcp.save(state, dcp.FileSystemWriter("saved"))
dcp.save_state_dict(state, dcp.FileSystemWriter("older"))
