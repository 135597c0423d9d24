//! TensorFlow: `SavedModel` folders and checkpoint prefixes.
