# SPDX-License-Identifier: Apache-2.0
"""torch.save to a path, in the zip format and in the legacy one.

``torch.save`` itself stays as it is, so that pickling it, its signature and ``from torch import save`` done earlier all
work: it looks up the two functions hooked here at each call. Both return a context manager, and the file is complete
when that has been left. ``torch.load`` shares one of them, hence the look at the mode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from model_signing_autosign._patch import Framework, Patch
from model_signing_autosign._saving import Call, Scope

if TYPE_CHECKING:
    from collections.abc import Callable

FRAMEWORK: Final = Framework("torch", versions=">=2.0,<3", tested="2.0.1, 2.15.0")


class _Opened:
    """What torch's opener does, and the end of a scope after its own end."""

    def __init__(self, opener: Any, scope: Scope) -> None:
        self._opener = opener
        self._scope = scope

    def __enter__(self) -> Any:
        file = self._opener.__enter__()
        self._scope.enter()
        return file

    def __exit__(self, *failure: Any) -> Any:
        completed = False
        try:
            answer = self._opener.__exit__(*failure)
            completed = failure[0] is None
        finally:
            self._scope.leave(completed=completed)
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._opener, name)


def _open(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    opener = original(*args, **kwargs)
    call = Call(args, kwargs)
    mode = call.argument("mode", 1)  # the zip opener has none: it only writes
    scope = Scope(call.argument("name_or_buffer", 0), FRAMEWORK.name)
    writes = mode is None or "w" in mode
    return _Opened(opener, scope) if writes and scope.root is not None else opener


PATCHES: Final = (
    Patch(
        FRAMEWORK,
        _open,
        ("torch.serialization:_open_zipfile_writer",),
        seen="`torch.save` to a path, however it was imported",
        signed="the file",
        complete="when the opener has been left",
    ),
    Patch(
        FRAMEWORK,
        _open,
        ("torch.serialization:_open_file_like",),
        seen="the same in the legacy format",
        signed="the file",
        complete="when the opener has been left",
    ),
)
