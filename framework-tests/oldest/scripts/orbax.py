import os

import jax.numpy as jnp
import orbax.checkpoint as ocp

state = {"w": jnp.arange(3.0)}
ocp.StandardCheckpointer().save(os.path.abspath("standard"), state)
with ocp.CheckpointManager(os.path.abspath("run"), options=ocp.CheckpointManagerOptions(max_to_keep=1)) as manager:
    for step in range(3):
        manager.save(step, args=ocp.args.StandardSave(state))
