# SPDX-License-Identifier: Apache-2.0
"""``python -m model_signing`` and ``model_signing``: the ``model-signing`` command."""

from model_signing_autosign._cli import main

if __name__ == "__main__":
    main()
