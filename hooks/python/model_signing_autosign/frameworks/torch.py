# SPDX-License-Identifier: Apache-2.0
"""What torch writes to a path: torch.save, torch.jit, torch.export, torch.package and torch.onnx.

``torch.save`` itself stays as it is, so that pickling it, its signature and ``from torch import save`` done earlier all
work: it looks up the two functions hooked here at each call, one for the zip format and one for the legacy one. Both
return a context manager, and the file is complete when that has been left. ``torch.load`` shares one of them, hence the
look at the mode; the legacy ONNX exporter shares it too.

The others have written their file when they return. ``save`` of a scripted module does not go through
``torch.jit.save``, and ``torch.jit.save`` of a function does not go through a Python method, so both are hooked; traced
modules have a copy of the method. ``torch.export.save`` goes
through ``package_pt2``, as AOTInductor does, since it exists; before, it wrote the file itself. A ``PackageExporter``
keeps the path only in C++, so it is remembered from its constructor. Left by an exception it is not closed, but only
made a valid zip file.
"""

from __future__ import annotations

import mmap
import os
import sys
import weakref
from typing import TYPE_CHECKING, Any, Final

from model_signing_autosign._faults import contained
from model_signing_autosign._patch import Framework, Patch
from model_signing_autosign._saving import Call, Scope, argument, saves

if TYPE_CHECKING:
    from collections.abc import Callable

FRAMEWORK: Final = Framework("torch", versions=">=2.0,<3", tested="2.15.0")


class _Opened:
    """What torch's opener does, and the end of a scope after its own end."""

    def __init__(self, opener: Any, scope: Scope) -> None:
        self._opener = opener
        self._scope = scope

    def __enter__(self) -> Any:
        file = self._opener.__enter__()
        self._scope.ends_with(sys._getframe(1))  # the save, whose ``with`` this is
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
    call = Call(args, kwargs)
    mode = call.argument("mode", 1)  # the zip opener has none: it only writes
    writes = mode is None or "w" in str(mode)
    scope = Scope(call.argument("name_or_buffer", 0) if writes else None, FRAMEWORK.name)
    if scope.root is None:
        return original(*args, **kwargs)
    try:
        scope.begin()  # the opener makes the file empty
        return _Opened(original(*args, **kwargs), scope)
    except BaseException:
        scope.give_up()
        raise


# Absolute paths of the packages that are being written.
_packages: Final[weakref.WeakKeyDictionary[Any, str]] = weakref.WeakKeyDictionary()


def _begin_package(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    call = Call(args, kwargs)
    scope = Scope(call.argument("f", 1), FRAMEWORK.name)
    try:
        scope.begin()  # the constructor makes the file empty
        result = original(*args, **kwargs)
    except BaseException:
        scope.give_up()
        raise
    if scope.root is not None:
        with contained("tell where a package is saved"):
            _packages[call.argument("self", 0)] = scope.root
    return result


def _package(call: Call) -> object:
    return _packages.get(call.argument("self", 0))


def _onnx_files(model: str) -> list[str]:
    """Return the model and the file of its weights, if it names one: an earlier export may have left another."""
    data = f"{model}.data"
    if not os.path.isfile(data):
        return [model]
    with open(model, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        named = content.find(os.fsencode(os.path.basename(data))) >= 0
    return [model, data] if named else [model]


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
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, argument("f", 1)),
        ("torch.jit._script:RecursiveScriptModule.save", "torch.jit._script:ScriptModule.save"),
        seen="`save` of a scripted or traced module",
        signed="the file",
        complete="on return",
    ),
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, argument("f", 1)),
        ("torch.jit._serialization:save", "torch.jit:save"),
        seen="`torch.jit.save` of a module or function to a path; not `save` of a scripted function, which is C++",
        signed="the file",
        complete="on return",
    ),
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, argument("f", 1)),
        ("torch.export:save",),
        seen="`torch.export.save` to a path",
        signed="the file",
        complete="on return",
        since="2.1",
    ),
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, argument("f", 0)),
        (
            "torch.export.pt2_archive._package:package_pt2",
            "torch._inductor.package.package:package_pt2",
            "torch.nativert.backends._lower_utils:package_pt2",
        ),
        seen="the same however it was imported, and packages of AOTInductor",
        signed="the file",
        complete="on return",
        since="2.8",
    ),
    Patch(
        FRAMEWORK,
        _begin_package,
        ("torch.package.package_exporter:PackageExporter.__init__",),
        seen="`torch.package`: where it is saved",
        signed="nothing yet",
        complete="when closed",
    ),
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, _package),
        ("torch.package.package_exporter:PackageExporter.close",),
        seen="`torch.package` to a path, unless an exception ends its `with` block",
        signed="the file",
        complete="on return",
    ),
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, argument("destination", 1), files=_onnx_files),
        ("torch.onnx._internal.exporter._onnx_program:ONNXProgram.save",),
        seen="`torch.onnx.export` and `ONNXProgram.save`; the legacy exporter through `torch.save`'s function",
        signed="the `.onnx` file and, if it names one, the `.onnx.data` file",
        complete="on return",
        since="2.5",
    ),
)
