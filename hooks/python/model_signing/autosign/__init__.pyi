from model_signing_autosign import *  # noqa: F403 - the public names are listed once, in its __all__
from model_signing_autosign import __version__ as __version__
from model_signing_autosign import errors as errors
