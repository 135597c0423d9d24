import torch
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration

for name in (None, "state"):
    naming = ProjectConfiguration(".", automatic_checkpoint_naming=name is None)
    training = Accelerator(cpu=True, project_config=naming)
    model = training.prepare(torch.nn.Linear(8, 4))
    training.save_state(name)
training.save_model(model, "model", max_shard_size=100)
