import os

os.environ |= {"DS_ACCELERATOR": "cpu", "RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}

import deepspeed
import torch
from deepspeed.ops.op_builder import ShareMemCommBuilder

deepspeed.ops.__compatible_ops__[ShareMemCommBuilder.NAME] = False  # would be compiled first: gloo does for it
torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
deepspeed.init_distributed("gloo")
model = torch.nn.Linear(8, 1)
optimizer = {"type": "AdamW", "params": {"lr": 0.01, "torch_adam": True}}
configuration = {"train_micro_batch_size_per_gpu": 4, "optimizer": optimizer}
engine = deepspeed.initialize(model=model, model_parameters=model.parameters(), config=configuration)[0]
engine.save_checkpoint("run", tag="step-1", save_latest=False)
engine.save_16bit_model("weights", "model.bin")
