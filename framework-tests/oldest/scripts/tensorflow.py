import os

import tensorflow as tf
from tensorflow.python.saved_model import builder_impl

state = tf.train.Checkpoint(w=tf.Variable([1.0, 2.0]))
os.mkdir("run")
state.save("run/saved")
manager = tf.train.CheckpointManager(state, "rotated", max_to_keep=1)
for _ in range(2):
    manager.save()
tf.saved_model.save(state, "model")
tf.io.gfile.mkdir("old")
tf.io.gfile.rmtree("old")

with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    tf.compat.v1.get_variable("w", [2])
    session.run(tf.compat.v1.global_variables_initializer())
    tf.compat.v1.train.Saver().save(session, "older")
    for number, kind in enumerate((builder_impl.SavedModelBuilder, builder_impl._SavedModelBuilder)):
        builder = kind(f"built-{number}")
        builder.add_meta_graph_and_variables(session, ["serve"])
        builder.save()
for folder in (".", "run", "rotated"):
    os.remove(f"{folder}/checkpoint")  # names the newest, and is part of none
