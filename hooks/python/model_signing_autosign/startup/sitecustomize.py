# SPDX-License-Identifier: Apache-2.0
"""Switches signing on under ``model-signing run``, which puts this folder at the head of PYTHONPATH.

It does so when the first framework with a hook is imported, not when the interpreter starts. A program may be a tree of
interpreters, most of which save nothing: they do not pay the 40 ms that switching on takes, and their stderr, which
somebody may read, stays as it is. For the same reason an interpreter without the package, such as that of a tool with
an environment of its own, says so only there, once: where no framework is imported, nothing is missed.

Nor does the import of numpy cost a program anything that did not ask for its hook, or for another of those that are off
by default. Who asks is the environment or a configuration file; whether it is in force there, the package finds out.

Any Python of the tree runs this file, so it is written for Python 3.6, and imports nothing that is not there anyway.
"""

import os
import sys

TYPE_CHECKING = False  # typing is not there yet, and slow
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

_FOLDER = os.path.dirname(__file__)
# As there is one file for each framework, named as its package is.
_FRAMEWORKS = {os.path.splitext(name)[0] for name in os.listdir(os.path.join(os.path.dirname(_FOLDER), "frameworks"))}

# Those that are signed only where they are asked for.
_OPT_IN = {"joblib", "lightgbm", "mlflow", "numpy", "onnx", "wandb", "xgboost"}


def _asked_for(name: str) -> bool:
    """Whether a setting may name an opt-in hook: a comment in a file that does is worth 40 ms, a parser is not."""
    if name in os.environ.get("MODEL_SIGNING_HOOKS", ""):
        return True
    home = os.environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(home):
        home = os.path.join(os.path.expanduser("~"), ".config")
    folders = os.path.join(home, "model-signing"), "/etc/model-signing"
    for path in [os.environ.get("MODEL_SIGNING_CONFIG", "")] + [os.path.join(f, "config.toml") for f in folders]:
        try:
            with open(path, "rb") as file:
                if name.encode() in file.read():
                    return True
        except (OSError, ValueError):
            pass
    return False


class _FirstFramework:
    """Finds nothing by itself; notices the first import of a framework."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> "ModuleSpec | None":
        if name not in _FRAMEWORKS or (name in _OPT_IN and not _asked_for(name)):
            return None
        # A new list, because removing from it makes an import going on in another thread skip a finder.
        sys.meta_path = [finder for finder in sys.meta_path if finder is not self]
        try:
            import model_signing_autosign  # noqa: PLC0415

            if not model_signing_autosign._disabled:
                model_signing_autosign.enable()
        except Exception as error:  # noqa: BLE001 - ours, and the program has not asked for us
            if sys.stderr is not None:
                sys.stderr.write(f"model-signing: nothing that {sys.executable} saves is signed: {error}\n")
        # Those who look for modules are others now, and this import began with those before.
        from importlib.util import find_spec  # noqa: PLC0415

        return find_spec(name)


# For this process as if the folder had never been there; its children find it in the environment.
sys.path[:] = [folder for folder in sys.path if folder != _FOLDER]
sys.meta_path.insert(0, _FirstFramework())
# Now the module that is found without us, in our place. What comes of this import, also that there is none, Python
# treats as if it had made it itself.
del sys.modules[__name__]
__import__(__name__)
