import os
import shutil

import flax
import jax.numpy as jnp
import orbax.checkpoint
from flax.training import checkpoints

state = {"w": jnp.arange(3.0)}
for step in range(3):
    manager = orbax.checkpoint.PyTreeCheckpointer()
    checkpoints.save_checkpoint(os.path.abspath("run"), state, step, keep=1, orbax_checkpointer=manager)
flax.config.update("flax_use_orbax_checkpointing", False)
checkpoints.save_checkpoint("msgpack", state, 0)
shutil.rmtree("msgpack")
