# SPDX-License-Identifier: Apache-2.0
"""Verify models, with the interface of the ``model_signing`` package.

The classes and methods are those of ``model_signing.verifying`` 1.1, and so is what they do, but for what that accepts
and must not: certificates need a root that is given, and be valid now; paths that the verifier leaves out go before
those that the signer named; bundles that are not as OMS says are refused, those of 0.2 among them.

Examples:
    >>> from model_signing_autosign import signing, verifying
    >>> signing.Config().use_elliptic_key_signer(private_key="key.pem").sign("model", "model.sig")
    >>> verifying.Config().use_elliptic_key_verifier(public_key="public.pem").verify("model", "model.sig")
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from model_signing_autosign import _core, hashing
from model_signing_autosign._paths import as_path, existing
from model_signing_autosign.errors import MismatchError, VerificationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Self

    from model_signing_autosign._paths import PathLike

__all__ = ["Config"]

logger = logging.getLogger(__name__)


class Config:
    """Who is believed, and what a model may have beside what was signed; may verify any number of models.

    Examples:
        >>> from model_signing_autosign import signing, verifying
        >>> signing.Config().use_elliptic_key_signer(private_key="key.pem").sign("model", "model.sig")
        >>> config = verifying.Config().use_elliptic_key_verifier(public_key="public.pem")
        >>> with open("model/weights.bin", "ab") as file:
        ...     _ = file.write(b"!")
        >>> try:
        ...     config.verify("model", "model.sig")
        ... except ValueError as error:
        ...     print(error.args[0])
        Signature mismatch: ["Hash mismatch for 'weights.bin'"]
    """

    def __init__(self) -> None:
        self._hashing_config: hashing.Config | None = None
        self._verifier: _core.Verifier | None = None
        self._ignore_unsigned_files = False
        self._log_fingerprints = False

    def verify(self, model_path: PathLike, signature_path: PathLike) -> None:
        """Verify the signature, then every file of the model.

        Args:
            model_path: The file or directory.
            signature_path: The signature.

        Raises:
            ValueError: If no verifier was chosen, or the signature is not theirs, or the model is not what was signed;
                the message then names extra, missing and changed files, and so does the error, which is a
                `MismatchError`.
            OSError: If a file cannot be read, ``FileNotFoundError`` if there is no signature.

        Examples:
            >>> from model_signing_autosign import signing, verifying
            >>> signing.Config().use_elliptic_key_signer(private_key="key.pem").sign("model", "model.sig")
            >>> verifying.Config().use_elliptic_key_verifier(public_key="public.pem").verify("model", "model.sig")
        """
        if self._verifier is None:
            message = "Attempting to verify with no configured verifier"
            raise ValueError(message)
        model, signature = existing(model_path), as_path(signature_path)
        if self._log_fingerprints:
            _log("verify", _core.fingerprints(signature))
        own = self._hashing_config
        try:
            said = self._verifier.verify(
                model,
                signature,
                hashing=None if own is None else own._core(model),
                ignore_unsigned=self._ignore_unsigned_files,
            )
        except MismatchError as error:
            message = f"Signature mismatch: {_differences(model.resolve().name, error)}"
            raise MismatchError(message, error.hint, error.missing, error.changed, error.added) from None
        if own is not None and said != (own._algorithm, own._shard_size):
            algorithm, size = said
            what = "files" if size is None else f"shards of {size} bytes"
            message = f"Signature mismatch: {what} were signed, by {algorithm}, not as the hashing configuration says"
            raise VerificationError(message, "leave the hashing configuration out: the signature says how to hash")

    def set_hashing_config(self, hashing_config: hashing.Config) -> Self:
        """Say what of a model is left out, whether links are followed, and as what it must have been signed.

        Without it the signature says so, and what git keeps is left out.

        Args:
            hashing_config: What says it. Where it names paths to leave out, those that the signer named do not count.

        Returns:
            This configuration.

        Examples:
            >>> from model_signing_autosign import hashing, signing, verifying
            >>> signing.Config().use_elliptic_key_signer(private_key="key.pem").sign("model", "model.sig")
            >>> config = verifying.Config().use_elliptic_key_verifier(public_key="public.pem")
            >>> without_logs = hashing.Config().set_ignored_paths(paths=["logs"])
            >>> config.set_hashing_config(without_logs).verify("model", "model.sig")
        """
        self._hashing_config = hashing_config
        return self

    def set_ignore_unsigned_files(self, ignore_unsigned_files: bool) -> Self:
        """Say whether files that were not signed are accepted.

        Args:
            ignore_unsigned_files: Accept them.

        Returns:
            This configuration.

        Examples:
            >>> import pathlib
            >>> from model_signing_autosign import signing, verifying
            >>> signing.Config().use_elliptic_key_signer(private_key="key.pem").sign("model", "model.sig")
            >>> pathlib.Path("model/notes.txt").touch()
            >>> config = verifying.Config().use_elliptic_key_verifier(public_key="public.pem")
            >>> config.set_ignore_unsigned_files(True).verify("model", "model.sig")
            >>> pathlib.Path("model/notes.txt").unlink()
        """
        self._ignore_unsigned_files = bool(ignore_unsigned_files)
        return self

    def use_sigstore_verifier(
        self,
        *,
        identity: str,
        oidc_issuer: str,
        use_staging: bool = False,
        trust_config: PathLike | None = None,
    ) -> Self:
        """Believe who signed through Sigstore in this name.

        Args:
            identity: An email address or a URI, exactly; or ``glob:`` or ``re:`` and a pattern.
            oidc_issuer: URL of the OIDC issuer that vouches for it.
            use_staging: Use the staging instance.
            trust_config: ClientTrustConfig or trusted root of the Sigstore instance; None for that of the settings.

        Returns:
            This configuration.

        Raises:
            OSError: If the trust config cannot be read.
            ValueError: If it, or a pattern, cannot be used.

        Examples:
            >>> from model_signing_autosign import verifying
            >>> config = verifying.Config().use_sigstore_verifier(
            ...     identity="alice@example.com", oidc_issuer="https://accounts.example.com"
            ... )  # doctest: +SKIP
            >>> config.verify("model", "model.sig")  # doctest: +SKIP
        """
        self._verifier = _core.Verifier.sigstore(
            identity=identity,
            oidc_issuer=oidc_issuer,
            staging=use_staging,
            trust_config=None if trust_config is None else as_path(trust_config),
        )
        self._log_fingerprints = False
        return self

    def use_elliptic_key_verifier(self, *, public_key: PathLike) -> Self:
        """Believe whoever has the private key to this public one.

        Args:
            public_key: PEM file with the key, which is read now.

        Returns:
            This configuration.

        Raises:
            OSError: If the file cannot be read.
            ValueError: If there is no such key in it.

        Examples:
            >>> from model_signing_autosign import signing, verifying
            >>> signing.Config().use_elliptic_key_signer(private_key="key.pem").sign("model", "model.sig")
            >>> verifying.Config().use_elliptic_key_verifier(public_key="public.pem").verify("model", "model.sig")
        """
        self._verifier = _core.Verifier.key(as_path(public_key))
        self._log_fingerprints = False
        return self

    def use_certificate_verifier(
        self, *, certificate_chain: Iterable[PathLike] = frozenset(), log_fingerprints: bool = False
    ) -> Self:
        """Believe those for whom a root stands.

        Args:
            certificate_chain: PEM files with the roots, at least one: unlike upstream, no operating system's. They may
                hold certificates between a root and the signer's, too.
            log_fingerprints: Log the SHA-256 of every certificate, those given and those of the signature, at level
                ``INFO``.

        Returns:
            This configuration.

        Raises:
            OSError: If a file cannot be read.
            ValueError: If none of them is a root.

        Examples:
            >>> from model_signing_autosign import signing, verifying
            >>> signer = signing.Config().use_certificate_signer(
            ...     private_key="leaf.key.pem", signing_certificate="leaf.pem", certificate_chain=[]
            ... )
            >>> signer.sign("model", "model.sig")
            >>> verifier = verifying.Config().use_certificate_verifier(certificate_chain=["authority.pem"])
            >>> verifier.verify("model", "model.sig")
        """
        self._verifier = _core.Verifier.certificate([as_path(path) for path in certificate_chain])
        self._log_fingerprints = log_fingerprints
        if log_fingerprints:
            _log("init", self._verifier.fingerprints)
        return self


def _differences(name: str, error: MismatchError) -> list[str]:
    """Say how a model differs in upstream's words."""
    told = []
    if error.added:
        told.append(f"Extra files found in model '{name}': {', '.join(error.added)}")
    if error.missing:
        told.append(f"Missing files in model '{name}': {', '.join(error.missing)}")
    return told + [f"Hash mismatch for '{file}'" for file in error.changed]


def _log(where: str, fingerprints: list[str]) -> None:
    """Log fingerprints in upstream's form."""
    for fingerprint in fingerprints:
        logger.info("[%s] sha256 Fingerprint: %s", where.center(8), bytes.fromhex(fingerprint).hex(":").upper())
