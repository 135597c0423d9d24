# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that sign themselves.

After `enable`, or ``import model_signing.autosign``, which calls it, every checkpoint a supported framework writes to
a path is hashed and signed in the background. Settings are environment variables that begin with ``MODEL_SIGNING_``;
``model-signing env`` lists them.

Importing this package changes nothing.

Examples:
    >>> import model_signing_autosign as autosign
    >>> autosign.enable()
    >>> # torch.save(model.state_dict(), "model.pt")
    >>> autosign.flush(timeout=30).pending
    0
    >>> autosign.disable()
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

from model_signing_autosign import _arguments, _core, _patch, _session, frameworks
from model_signing_autosign._core import Status
from model_signing_autosign._faults import contained
from model_signing_autosign._saving import paused
from model_signing_autosign.errors import (
    AutosignError,
    ConfigError,
    SigningError,
    UnsignedError,
    VerificationError,
)

if TYPE_CHECKING:
    import datetime
    import os
    from collections.abc import Sequence
    from pathlib import Path

    from model_signing_autosign._patch import Patch

__all__ = [
    "AutosignError",
    "ConfigError",
    "SigningError",
    "Status",
    "UnsignedError",
    "VerificationError",
    "disable",
    "doctor",
    "enable",
    "flush",
    "paused",
    "set_step",
    "sign",
    "status",
    "verify",
    "wait",
]

__version__: str

_applied: Final[list[Patch]] = []
_disabled = False  # once, by the program: then `model-signing run` leaves all to it


def enable() -> None:
    """Sign every checkpoint that is saved from now on.

    Works before or after the frameworks are imported, and imports none. Calling it again changes nothing. With
    MODEL_SIGNING_MODE=disabled it does nothing at all. The settings are read at the first call in a process.

    Raises:
        ConfigError: If a setting is unusable and MODEL_SIGNING_ON_ERROR is ``raise``; otherwise that is a warning.

    Examples:
        >>> import model_signing_autosign as autosign
        >>> autosign.enable()
    """
    with _session.lock, contained("sign checkpoints by itself"):
        session = _session.current()
        if session.enabled:
            _session.listen()
            for patch in frameworks.patches(session.hooks):
                if patch not in _applied:
                    _applied.append(patch)
                    with contained(f"hook {patch.names[0]}"):
                        patch.apply()


def disable() -> None:
    """Sign nothing that is saved from now on, and give the frameworks their functions back.

    Checkpoints saved before are still signed. Calling it again, or without `enable`, changes nothing.

    Examples:
        >>> import model_signing_autosign as autosign
        >>> autosign.disable()
    """
    global _disabled  # noqa: PLW0603
    _disabled = True
    with _session.lock:
        while _applied:
            with contained("give a function back"):
                _applied.pop().revert()


def flush(timeout: float | None = None) -> Status:
    """Wait until what was saved so far in this process is signed, or in mode ``offline`` hashed.

    Args:
        timeout: Longest wait in seconds; None waits as long as it takes.

    Returns:
        The counts at the end; ``pending`` is not 0 where the time ran out.

    Raises:
        ConfigError: If a setting is unusable and MODEL_SIGNING_ON_ERROR is ``raise``.

    Examples:
        >>> import model_signing_autosign as autosign
        >>> autosign.flush(timeout=30).pending
        0
    """
    session, begun = _session.current(), time.monotonic()
    _session.settle(timeout)
    return session.flush(None if timeout is None else max(0.0, timeout - (time.monotonic() - begun)))


def status() -> Status:
    """Count the checkpoints of this process: signed, pending, spooled, failed and superseded.

    Spooled are those that mode ``offline`` has hashed and left in the spool for ``model-signing flush``. Superseded are
    those that were overwritten or deleted before they could be signed.

    Raises:
        ConfigError: If a setting is unusable and MODEL_SIGNING_ON_ERROR is ``raise``.

    Examples:
        >>> import model_signing_autosign as autosign
        >>> autosign.status().failed
        0
    """
    return _session.current().status()


def set_step(step: int | None) -> None:
    """Say at which step the training is: it is signed with each checkpoint that is saved from now on.

    A Trainer, Lightning, Keras and DeepSpeed tell by themselves; this is for loops of one's own. `verify` with
    ``min_step`` then refuses an older checkpoint in the place of a newer one.

    Args:
        step: The number of steps so far, from 0; None where it is not known any more.

    Raises:
        TypeError: If it is no whole number.
        ValueError: If it is less than 0, or has more than 64 bits.
        ConfigError: If a setting is unusable and MODEL_SIGNING_ON_ERROR is ``raise``.

    Examples:
        >>> import model_signing_autosign as autosign
        >>> autosign.set_step(1000)
        >>> # torch.save(model.state_dict(), "last.pt")
        >>> autosign.set_step(None)
    """
    _arguments.counted(step=step)
    _session.current().set_step(step)


def doctor(*, fetch: bool = False, sign_test: bool = False) -> dict[str, Any]:
    """Say whether this process can sign, and what to do if not.

    That is what ``model-signing doctor --json`` prints, and what only this process knows: ``replaced``, the hooked
    functions that somebody has replaced since by others that do not call them.

    Asks the services whether they are there; sends no token unless ``sign_test`` is given.

    Args:
        fetch: Get an identity token, too. It is sent nowhere.
        sign_test: Make a signature, too, and throw it away: with the staging instance in the place of the public-good
            one, else with the instance that is set.

    Returns:
        ``ready``, and why: ``obstacles``, ``hooked``, ``settings``, ``sources``, ``services``, ``token``, ``trust``,
        ``spool`` and more.

    Examples:
        >>> import model_signing_autosign as autosign
        >>> autosign.doctor()["ready"]
        True
    """
    report: dict[str, Any] = json.loads(_core.doctor(frameworks.installed(), fetch=fetch, sign_test=sign_test))
    report["replaced"] = [{"function": path, "by": by} for path, by in _patch.replaced()]
    return report


def sign(  # noqa: PLR0913 - every argument is a name
    model: str | os.PathLike[str],
    *,
    private_key: str | os.PathLike[str] | None = None,
    signing_certificate: str | os.PathLike[str] | None = None,
    certificate_chain: Sequence[str | os.PathLike[str]] = (),
    password: str | None = None,
    identity_token: str | None = None,
    trust_config: str | os.PathLike[str] | None = None,
    signature: str | os.PathLike[str] | None = None,
) -> Path:
    """Sign a model file or directory now: as the settings say, with a key, or in the name that a token gives.

    With the model alone it is signed as one that a framework has saved, at once, whatever is excluded and also where
    hooks are off; a signature that was pending for it is this one then. What cannot be signed stays in the spool, as
    theirs does, and is signed by a flush.

    Args:
        model: The file or directory.
        private_key: PEM file with an ECDSA key, or the key itself, PEM text; None signs as the settings say, or
            through Sigstore where another argument is given.
        signing_certificate: PEM file with the X.509 certificate for the key, which then names the signer.
        certificate_chain: PEM files with certificates of its issuers, which the signature carries along.
        password: Password of the key file, if it has one.
        identity_token: OIDC token to sign with through Sigstore; None takes that of the environment.
        trust_config: ClientTrustConfig file of the Sigstore instance; None takes that of the environment.
        signature: Where to write the signature; None for ``model.sig`` in a directory, ``<name>.sig`` beside a file.

    Returns:
        Path of the signature.

    Raises:
        TypeError: If arguments of both ways to sign are given, or one path for the list ``certificate_chain``.
        ConfigError: If there is neither a key nor a token, or the public instances are not to be used.
        SigningError: If key, certificate or token cannot be used, a service fails, the model cannot be read or the
            signature cannot be written.

    Examples:
        >>> import model_signing_autosign as autosign
        >>> autosign.sign("model.pt", private_key="key.pem").name
        'model.pt.sig'
    """
    _arguments.several(certificate_chain=certificate_chain)
    with_key = password is not None or signing_certificate is not None or bool(certificate_chain)
    if not with_key and (private_key, identity_token, trust_config, signature) == (None,) * 4:
        return _session.current().sign(model)
    if private_key is None:
        if with_key:
            message = "password, signing_certificate and certificate_chain go with private_key"
            raise TypeError(message)
        return _core.sign_sigstore(model, identity_token=identity_token, trust_config=trust_config, signature=signature)
    if identity_token is not None or trust_config is not None:
        message = "identity_token and trust_config do not go with private_key"
        raise TypeError(message)
    if signing_certificate is not None:
        return _core.sign_certificate(
            model,
            private_key=private_key,
            signing_certificate=signing_certificate,
            certificate_chain=certificate_chain,
            password=password,
            signature=signature,
        )
    if certificate_chain:
        message = "certificate_chain goes with signing_certificate"
        raise TypeError(message)
    return _core.sign_key(model, private_key=private_key, password=password, signature=signature)


def wait(model: str | os.PathLike[str], timeout: float | None = None) -> Path:
    """Wait until a checkpoint that was saved in this process is signed.

    Args:
        model: The file or directory that was saved.
        timeout: Longest wait in seconds; None waits as long as it takes.

    Returns:
        Path of the signature.

    Raises:
        TimeoutError: If it takes longer.
        UnsignedError: If there is no signature and none is to come, because the model was not saved, or is passed over.
        SigningError: If it could not be signed; the message says why.

    Examples:
        >>> import model_signing_autosign as autosign
        >>> # torch.save(model.state_dict(), "model.pt")
        >>> autosign.wait("model.pt", timeout=60).name
        'model.pt.sig'
    """
    session, begun = _session.current(), time.monotonic()
    _session.settle(timeout)
    return session.wait_for(model, None if timeout is None else max(0.0, timeout - (time.monotonic() - begun)))


def verify(  # noqa: PLR0913 - every argument is a name
    model: str | os.PathLike[str],
    *,
    public_key: str | os.PathLike[str] | None = None,
    identity: str | None = None,
    identity_provider: str | None = None,
    trust_config: str | os.PathLike[str] | None = None,
    certificate_chain: Sequence[str | os.PathLike[str]] | None = None,
    certificate_identity: str | None = None,
    timestamp_certificate_chain: Sequence[str | os.PathLike[str]] = (),
    revocation_list: Sequence[str | os.PathLike[str]] = (),
    at: datetime.datetime | None = None,
    policy: str | os.PathLike[str] | None = None,
    signature: str | os.PathLike[str] | None = None,
    expect_name: str | None = None,
    run: str | None = None,
    min_step: int | None = None,
    max_age: float | None = None,
    last_seen: str | os.PathLike[str] | None = None,
    strict: bool = False,
    portable: bool = False,
) -> list[str]:
    """Check a model file or directory against its signature, by a key, an identity or a root. Needs no network.

    Args:
        model: The file or directory.
        public_key: PEM file with the signer's public key.
        identity: Who must have signed through Sigstore, an email address, a URI or a username (``NAME!DOMAIN``):
            exactly; or ``glob:`` and a pattern, where ``*`` stands for anything but ``/`` and ``**`` for anything; or
            ``re:`` and a regular expression for the whole of it.
        identity_provider: URL of the OIDC issuer that vouches for the identity.
        trust_config: ClientTrustConfig or trusted root of the Sigstore instance that is believed; None takes that of
            the environment.
        certificate_chain: PEM files with the root certificates that are believed, and no others. They may hold
            certificates between a root and the signer's, too. All must be valid now, or when a timestamp was made.
        certificate_identity: Who must have signed with a certificate: an email address, URI or DNS name of it, or its
            subject as RFC 4514 writes it; exactly, or ``glob:`` or ``re:`` as with ``identity``.
        timestamp_certificate_chain: PEM files of timestamp authorities that are believed, each from the certificate
            that signs timestamps to its root. With ``public_key``, too, a timestamp must then be right.
        revocation_list: Lists of revoked certificates, DER or PEM files. Once there is one, every certificate below a
            root must be cleared by a list of its issuer.
        at: When certificates must be valid, where no timestamp says when the signature was made; None for now.
        policy: TOML file that says who may sign which models, and which of theirs is wanted; with it goes ``signature``
            alone. All that is there must be signed then, but for git's own files.
        signature: Where the signature is; None for the place where `sign` puts it, or a save.
        expect_name: The name that the signer must have given the model, the last part of the path that was signed.
        run: The training that must have saved it, as MODEL_SIGNING_RUN named it.
        min_step: The least step of its training at which it must have been saved.
        max_age: How long ago it may have been saved, in seconds. Of a signature that does not say, the proven time of
            signing counts.
        last_seen: File that remembers the newest checkpoint of each run that was verified with it; an older one is
            refused. It is made where there is none.
        strict: Refuse files that the signature says its signer left out, except for git's own.
        portable: Refuse signed names that are not good on every system.

    Returns:
        Names of the signed files, relative to the model.

    Raises:
        TypeError: If it is not one of ``public_key``, ``identity`` with ``identity_provider``, ``certificate_chain``,
            and ``policy``; or if one path is given for a list of them, or ``min_step`` is no whole number.
        ValueError: If ``min_step`` is less than 0, or has more than 64 bits.
        UnsignedError: If there is no signature.
        VerificationError: If the signature is not theirs, or the model is not what was signed, or not what was asked
            for.

    Examples:
        >>> import model_signing_autosign as autosign
        >>> signature = autosign.sign("model.pt", private_key="key.pem")
        >>> len(autosign.verify("model.pt", public_key="public.pem"))
        1
    """
    _arguments.several(
        certificate_chain=certificate_chain,
        timestamp_certificate_chain=timestamp_certificate_chain,
        revocation_list=revocation_list,
    )
    _arguments.counted(min_step=min_step)
    if policy is not None:
        given = (public_key, identity, identity_provider, trust_config, certificate_chain, certificate_identity, at)
        asked = (expect_name, run, min_step, max_age, last_seen)
        others = (timestamp_certificate_chain, revocation_list, strict, portable)
        if any(one is not None for one in given + asked) or any(others):
            message = "with policy goes signature alone"
            raise TypeError(message)
        return _core.verify_policy(model, policy=policy, signature=signature)
    rules = _core.Rules(
        expect_name=expect_name,
        run=run,
        min_step=min_step,
        max_age=max_age,
        last_seen=last_seen,
        strict=strict,
        portable=portable,
    )
    keyless = (identity, identity_provider, trust_config) != (None,) * 3
    with_certificate = (certificate_chain, certificate_identity, at) != (None,) * 3 or bool(revocation_list)
    if public_key is not None and not keyless and not with_certificate:
        return _core.verify_key(
            model,
            public_key=public_key,
            timestamp_certificate_chain=timestamp_certificate_chain,
            signature=signature,
            rules=rules,
        )
    with_certificate = with_certificate or bool(timestamp_certificate_chain)
    if certificate_chain is not None and public_key is None and not keyless:
        return _core.verify_certificate(
            model,
            certificate_chain=certificate_chain,
            certificate_identity=certificate_identity,
            timestamp_certificate_chain=timestamp_certificate_chain,
            revocation_list=revocation_list,
            at=at,
            signature=signature,
            rules=rules,
        )
    if public_key is None and identity is not None and identity_provider is not None and not with_certificate:
        return _core.verify_sigstore(
            model,
            identity=identity,
            identity_provider=identity_provider,
            trust_config=trust_config,
            signature=signature,
            rules=rules,
        )
    message = "give public_key, or identity and identity_provider, or certificate_chain, or policy"
    way = _core.way_to_verify(model, signature=signature)
    raise TypeError(message if way is None else f"{message}; {way}")


if not TYPE_CHECKING:  # a type checker would take every misspelt name for a str

    def __getattr__(name: str) -> str:
        if name != "__version__":
            message = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(message)
        # Asked for late: reading the metadata of a distribution takes longer than everything else here.
        from importlib import metadata  # noqa: PLC0415

        try:
            return metadata.version("model-signing-autosign")
        except metadata.PackageNotFoundError:  # run from a source tree
            return "0+unknown"
