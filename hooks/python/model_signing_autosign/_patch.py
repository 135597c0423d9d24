# SPDX-License-Identifier: Apache-2.0
"""Put one wrapper round one function, under every name it is known by, and take it off again.

It does not matter whether a patch is applied before, while or after its target is imported: a finder at the head of
``sys.meta_path`` lets the other finders find, and hears when the module has been executed. What it hears with is the
module's spec: the import system sets ``spec._initializing`` to False when it is done, so for that long the spec gets a
class that notices. Unlike a replaced loader this leaves the loader alone, leaves nothing behind in the answers of
``importlib.util.find_spec``, and works for a module whose import has begun already. A module that is reloaded, or
loaded when it is first used (``importlib.util.LazyLoader``), gets no such sign: there the loader is replaced until it
has been executed.

The finder stays: a module may be imported once more, as Keras is when it gets another backend.

One original has one wrapper, for good: a function that ``from ... import`` bound while the patch was applied does
nothing but call the original after `Patch.revert`, and is live again after the next `Patch.apply`.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

from model_signing_autosign._faults import contained, say
from model_signing_autosign._replaced import described, is_running, leads_to

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType

Wrapper: TypeAlias = Callable[..., Any]
"""Called as ``wrapper(original, *args, **kwargs)``; returns what ``original`` returns, a coroutine included."""

# Nothing that is not ours runs while it is held: no import, no loader, no write to stderr. Whoever holds an import lock
# may therefore wait for it. Reentrant, because a signal handler may import something in the middle.
_lock = threading.RLock()
_known: dict[str, list[Patch]] = {}  # import name -> patches to look at each time it has been imported
_waiting: set[str] = set()  # import names of which that has not been seen yet


@dataclass(frozen=True)
class Framework:
    """What is hooked.

    Attributes:
        name: Name of the top-level package.
        versions: The versions that the hook is made for, as in ``>=2.0,<3``. Others are left alone, with a line that
            says so: what a private function means there is not known.
        tested: Versions that the tests have run with, with commas between them.
        distribution: Name under which it is installed, where that is not `name`.
        hidden: Whether signatures of its files go to the hidden folder unless a setting says otherwise: where its
            readers, or its own guides, take every file of a folder for a checkpoint or for data.
        part: The module that the hook is for, where the rest of the package has another hook, with versions of its own.
    """

    name: str
    versions: str
    tested: str
    distribution: str = ""
    hidden: bool = False
    part: str = ""

    def version(self) -> str | None:
        """Return the version that has been imported, or else is installed; None where it cannot be told."""
        # Not getattr, which may run a module's own __getattr__ and so import something.
        version = vars(sys.modules[self.name]).get("__version__") if self.name in sys.modules else None
        if isinstance(version, str):
            return version
        from importlib import metadata  # noqa: PLC0415 - slow, and seldom needed

        try:
            return metadata.version(self.distribution or self.name)
        except metadata.PackageNotFoundError:
            return None

    def is_made_for(self, version: str | None) -> bool:
        """Tell whether a version is within `versions`; an unknown one is."""
        found = _numbers(version or "")
        for bound in self.versions.split(","):
            if bound.startswith(">=") and found and found < _numbers(bound[2:]):
                return False
            if bound.startswith("<") and found and found >= _numbers(bound[1:]):
                return False
        return True


@dataclass(eq=False)
class Patch:
    """One function and the wrapper for it.

    Attributes:
        framework: Whose function it is.
        wrapper: What to call instead.
        names: Where the function is found, as ``module:qualname``; a qualname may lead into a class. The first one
            must exist, and its module is the import to wait for. The others are names bound by ``from ... import``;
            they may be absent.
        seen: Which saves go through it, for the table in hooks/README.md, as are the next two.
        signed: What is signed then: the file, the folder, or which files.
        complete: When the checkpoint is complete.
        since: First version with the function, where the hook is made for older ones, too.
    """

    framework: Framework
    wrapper: Wrapper
    names: tuple[str, ...]
    seen: str
    signed: str
    complete: str
    since: str = ""
    _applied: bool = field(default=False, init=False, repr=False)
    # Originals and their wrappers: one of each, and one more for each time that the module was imported anew.
    _pairs: list[tuple[Any, Any]] = field(default_factory=list, init=False, repr=False)
    # Functions in its place that have called the wrapper.
    _callers: list[Any] = field(default_factory=list, init=False, repr=False)
    _bound: set[str] = field(default_factory=set, init=False, repr=False)  # names that have been given the wrapper

    @property
    def module(self) -> str:
        """Name of the module to wait for."""
        return self.names[0].partition(":")[0]

    def apply(self) -> None:
        """Wrap the function now if its module is loaded, else as soon as it is."""
        with _lock:
            self._applied = True
            # The package too: once it is there, one can tell whether its version still has the module.
            # And those of the other names: what they bind later is the wrapper, which may be replaced there, too.
            package = self.module.partition(".")[0]
            modules = {name.partition(":")[0] for name in self.names if re.match(rf"{package}\b", name)}
            for name in modules | {package}:
                patches = _known.setdefault(name, [])
                if self not in patches:
                    patches.append(self)
                _waiting.add(name)
            _place_finder()
        _catch_up()

    def revert(self) -> None:
        """Restore every name; wrappers that are held elsewhere only call the original from now on."""
        with _lock:
            self._applied = False
            for name in list(_known):
                _known[name] = [patch for patch in _known[name] if patch is not self]
                if not _known[name]:
                    del _known[name]
                    _waiting.discard(name)
            _place_finder()
            for original, wrapped in self._pairs:
                self._rebind(wrapped, original)
            self._bound.clear()

    def _wrap(self) -> bool:
        """Wrap the function under all names it has by now; False where it has no first name."""
        found = _lookup(self.names[0])
        if found is None:
            return False
        current = vars(found[0])[found[1]]
        pair = next((pair for pair in self._pairs if any(current is known for known in pair)), None)
        if pair is None:
            pair = current, self._wrapped(current)
            self._pairs.append(pair)
        self._bound |= self._rebind(*pair)
        return True

    def replaced(self) -> Iterator[tuple[str, str]]:
        """Yield the names that somebody has given a function that does not lead to the wrapper, and which function."""
        wrappers = [form for _, wrapped in self._pairs for form in (wrapped, getattr(wrapped, "__func__", wrapped))]
        for path, current in self._foreign():
            if not leads_to(current, wrappers):
                yield path, described(current)

    def _foreign(self) -> list[tuple[str, Any]]:
        """Return the names that were given another function, which has not called the wrapper yet, and it."""
        known = [wrapped for _, wrapped in self._pairs] + self._callers
        all_found = [(path, _lookup(path)) for path in sorted(self._bound)]
        # A module that is gone, or lazy once more, is heard of when it is executed.
        current = [(path, vars(found[0])[found[1]]) for path, found in all_found if found is not None]
        return [(path, found) for path, found in current if not any(found is one for one in known)]

    def _wrapped(self, raw: Any) -> Any:
        in_class = isinstance(raw, (staticmethod, classmethod))
        original = raw.__func__ if in_class else raw

        @functools.wraps(original)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if not self._applied:
                return original(*args, **kwargs)
            self._callers += [found for _, found in self._foreign() if is_running(found)]
            return self.wrapper(original, *args, **kwargs)

        @functools.wraps(original)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            return await wrapped(*args, **kwargs)

        # Some look whether they have a coroutine function, and call others in a thread.
        same_kind = awaited if inspect.iscoroutinefunction(original) else wrapped
        return type(raw)(same_kind) if in_class else same_kind

    def _rebind(self, old: Any, new: Any) -> set[str]:
        bound = set()
        for path in self.names:
            found = _lookup(path)
            # A name that somebody else has wrapped since stays theirs.
            current = vars(found[0])[found[1]] if found else None
            if found and current is old:
                setattr(*found, new)
            if found and (current is old or current is new):
                bound.add(path)
        return bound


def replaced() -> list[tuple[str, str]]:
    """Return the hooked functions that were replaced, after us, by others that do not call them, and by which."""
    with _lock:
        patches = {id(patch): patch for known in _known.values() for patch in known}
    return sorted(found for patch in patches.values() for found in patch.replaced())


def renew_lock() -> None:
    """Replace the lock in a forked child, where the thread that held it may not exist."""
    global _lock  # noqa: PLW0603
    _lock = threading.RLock()


def _lookup(path: str) -> tuple[Any, str] | None:
    """Return the module or class that has a name, and the name in it; imports nothing."""
    module, _, qualname = path.partition(":")
    *parents, name = qualname.split(".")
    owner: Any = sys.modules.get(module)
    if _is_lazy(owner):
        return None  # looking into it would load it
    for parent in parents:
        # Not getattr, which may run a module's own __getattr__ and so import something.
        owner = None if owner is None else vars(owner).get(parent)
    return None if owner is None or name not in vars(owner) else (owner, name)


def _place_finder() -> None:
    if _known and _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    elif not _known and _finder in sys.meta_path:
        # A new list, because removing from it makes an import going on in another thread skip a finder.
        sys.meta_path = [finder for finder in sys.meta_path if finder is not _finder]


def _catch_up() -> None:
    """Look at the modules waited for that are loaded, or being loaded, already."""
    for name in tuple(_waiting):
        module = sys.modules.get(name)
        if _is_lazy(module):
            _tell_of(module)
            continue
        spec = getattr(module, "__spec__", None)
        if _executing(spec):
            _watch(spec)
        # Asked again, because the import may have ended before the watch began.
        if module is not None and not _executing(spec):
            _loaded(name)


def _is_lazy(module: object) -> TypeGuard[ModuleType]:
    """Whether it is a module of ``importlib.util.LazyLoader`` that nobody has used yet."""
    util = sys.modules.get("importlib.util")
    return util is not None and type(module) is getattr(util, "_LazyModule", None)


def _lazy_loader() -> Any:
    """Return ``importlib.util.LazyLoader``, or no type at all where nobody has imported that."""
    return getattr(sys.modules.get("importlib.util"), "LazyLoader", ())


def _tell_of(module: ModuleType) -> None:
    """Hear when a lazy module is executed. What is asked of it here does not load it."""
    spec = object.__getattribute__(module, "__spec__")
    if not isinstance(spec.loader, _Telling):
        spec.loader = _Telling(spec)
    _waiting.discard(spec.name)


def _executing(spec: object) -> TypeGuard[ModuleSpec]:
    return isinstance(spec, ModuleSpec) and getattr(spec, "_initializing", False)


def _watch(spec: ModuleSpec) -> None:
    if not isinstance(spec, _WatchedSpec):
        given = type(spec)
        spec.__class__ = type(given.__name__, (_WatchedSpec, given), {"_given": given})


def _loaded(name: str) -> None:
    with _lock:
        _waiting.discard(name)
        patches = list(_known.get(name, ()))
    known = {patch.framework: patch.framework.version() for patch in patches}
    strange = {framework for framework, version in known.items() if not framework.is_made_for(version)}
    for framework in sorted(strange, key=repr):
        if name.startswith(framework.part or framework.name):
            _say_once(
                f"{framework.name} {known[framework]} is none of the versions that this hook is made for, "
                f"{framework.versions}: what {framework.part or 'it'} saves is not signed"
            )
    with _lock:
        patches = [patch for patch in patches if patch._applied and patch.framework not in strange]
        unwrapped = [patch for patch in patches if not patch._wrap()]
    for patch in unwrapped:
        if _numbers(known[patch.framework] or "") < _numbers(patch.since):
            continue
        if patch.module in sys.modules:
            # Still being imported where `name` is its package: its own turn comes.
            missing = patch.names[0] if patch.module == name else None
        else:
            missing = None if _exists(patch.module) else patch.module
        if missing is not None:
            name, versions = patch.framework.name, patch.framework.versions
            version = known[patch.framework] or "of unknown version"
            _say_once(
                f"{name} {version} has no {missing}, so what it saves there is not signed; "
                f"this hook is made for {name} {versions}"
            )


@functools.cache
def _say_once(line: str) -> None:
    """Say it, unless it has been said: each patch looks at its package anew, whenever it is applied or imported."""
    say(line)


def _numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: ``2.15.0+cpu`` and ``2.15.0rc1`` are (2, 15, 0)."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(number) for number in found[0].split(".")) if found else ()


def _exists(module: str) -> bool:
    """Whether a module of a loaded package can be found; imports nothing, unlike ``importlib.util.find_spec``."""
    name, *rest = module.split(".")
    path: Sequence[str] | None = getattr(sys.modules[name], "__path__", None)
    for part in rest:
        name = f"{name}.{part}"
        if path is None:
            return False
        try:
            spec = PathFinder.find_spec(name, path)
        except KeyError:
            # A package without __init__.py, which looks for its parent among the modules: not all are loaded here.
            path = [os.path.join(entry, part) for entry in path]
            continue
        if spec is None:
            return False
        path = spec.submodule_search_locations
    return True


class _WatchedSpec(ModuleSpec):
    """A spec, until its module has been executed, whether that went well or not."""

    _given: type[ModuleSpec]

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "loader" and hasattr(value, "exec_module") and not isinstance(value, (_Telling, _lazy_loader())):
            # The lazy loader gives the spec back the loader that is going to execute the module.
            super().__setattr__(name, _Telling(self))
            _waiting.discard(self.name)
        if name == "_initializing" and not value:
            self.__class__ = self._given  # type: ignore[assignment]
            with contained(f"hook {self.name}"):
                # Not there: the import failed. The patches go on waiting for the next attempt.
                module = sys.modules.get(self.name)
                if _is_lazy(module):
                    _tell_of(module)
                elif module is not None:
                    _loaded(self.name)


class _Telling:
    """The loader of a spec, until it has executed the module."""

    def __init__(self, spec: ModuleSpec) -> None:
        self._spec = spec
        self._loader: Any = spec.loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module, and look at what it holds."""
        object.__setattr__(self._spec, "loader", self._loader)
        if module.__loader__ is self:
            module.__loader__ = self._loader
        self._loader.exec_module(module)
        with contained(f"hook {self._spec.name}"):
            _loaded(self._spec.name)


class _Finder(MetaPathFinder):
    """Finds nothing by itself; makes the specs that the other finders find watched."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        with contained("look for loaded frameworks"):
            # A module that another thread was about to enter into sys.modules when its patch was applied.
            _catch_up()
        if fullname not in _known:
            return None
        finders = list(sys.meta_path)
        # Those before this one have been asked, and asking them again could go round in a circle.
        for finder in finders[finders.index(self) + 1 if self in finders else 0 :]:
            spec = finder.find_spec(fullname, path, target) if hasattr(finder, "find_spec") else None
            if spec is not None:
                with contained(f"hook {fullname}"):
                    if target is None:
                        _watch(spec)
                    elif hasattr(spec.loader, "exec_module"):
                        spec.loader = _Telling(spec)  # type: ignore[assignment]
                return spec
        return None


_finder = _Finder()
