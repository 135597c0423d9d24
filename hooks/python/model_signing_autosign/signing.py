# SPDX-License-Identifier: Apache-2.0
"""Sign models, with the interface of the ``model_signing`` package.

The functions, classes and methods are those of ``model_signing.signing`` 1.1, and so is what they do, but for this: the
signature itself is never part of the model; it is verified before it is written, at one go, and takes no other file's
place; a person is asked to log in on a terminal only, and where the environment gives no identity. `Config.set_compat`
is ours alone.

Examples:
    >>> from model_signing_autosign import signing
    >>> signing.Config().use_elliptic_key_signer(private_key="key.pem").sign("model", "model.sig")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from model_signing_autosign import _core, hashing
from model_signing_autosign._paths import as_path, existing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Self

    from model_signing_autosign._paths import PathLike

__all__ = ["Config", "sign"]

MODEL_SIGNING_1: Final = "model-signing-1"


def sign(model_path: PathLike, signature_path: PathLike) -> None:
    """Sign a model through Sigstore, in the name that the environment gives.

    Args:
        model_path: The file or directory.
        signature_path: Where the signature goes.

    Raises:
        OSError: If a file cannot be read, or the signature cannot be written.
        ValueError: If there is no identity, or a service fails, or there is no model that can be signed.

    Examples:
        >>> from model_signing_autosign import signing
        >>> signing.sign("model", "model.sig")  # doctest: +SKIP
    """
    Config().sign(model_path, signature_path)


class Config:
    """Who signs, and how the model is hashed; may sign any number of models.

    Examples:
        >>> from model_signing_autosign import signing
        >>> config = signing.Config().use_elliptic_key_signer(private_key="key.pem")
        >>> for model in ["model", "model/weights.bin"]:
        ...     config.sign(model, "model.sig")
    """

    def __init__(self) -> None:
        self._hashing_config = hashing.Config()
        self._signer: _core.Signer | None = None
        self._compat: str | None = None

    def sign(self, model_path: PathLike, signature_path: PathLike) -> None:
        """Sign a model, through Sigstore where no signer was chosen.

        Args:
            model_path: The file or directory.
            signature_path: Where the signature goes. Inside the model it is no part of it.

        Raises:
            OSError: If a file cannot be read, or the signature cannot be written.
            ValueError: If there is no model, or none that can be signed, or a service fails.

        Examples:
            >>> from model_signing_autosign import signing
            >>> config = signing.Config().use_elliptic_key_signer(private_key="key.pem")
            >>> config.sign("model", "model/model.sig")
        """
        if self._signer is None:
            self.use_sigstore_signer()
        assert self._signer is not None  # noqa: S101 - for the type checker
        model = existing(model_path)
        signature, how = as_path(signature_path), self._hashing_config._core(model)
        self._signer.sign(model, signature, how, compat=self._compat)

    def set_compat(self, tool: Literal["model-signing-1"] | None) -> Self:
        """Sign in the words of another tool.

        Upstream's releases 1.x know no name for a model that is one file, and call the hash of a shard after its size.
        All else they read as OMS has it. What they sign is always read here.

        Args:
            tool: ``model-signing-1``, or None for the words of OMS.

        Returns:
            This configuration.

        Raises:
            ValueError: If there is no such tool.

        Examples:
            >>> from model_signing_autosign import signing
            >>> config = signing.Config().use_elliptic_key_signer(private_key="key.pem")
            >>> config.set_compat("model-signing-1").sign("model/weights.bin", "model.sig")
        """
        if tool not in (None, MODEL_SIGNING_1):
            message = f"no tool {tool!r} is known, but {MODEL_SIGNING_1!r}"
            raise ValueError(_core.without_secrets(message))
        self._compat = tool
        return self

    def set_hashing_config(self, hashing_config: hashing.Config) -> Self:
        """Say how models are hashed, and what of them.

        Args:
            hashing_config: What says it.

        Returns:
            This configuration.

        Examples:
            >>> from model_signing_autosign import hashing, signing
            >>> config = signing.Config().use_elliptic_key_signer(private_key="key.pem")
            >>> shards = hashing.Config().use_shard_serialization()
            >>> config.set_hashing_config(shards).sign("model", "model.sig")
        """
        self._hashing_config = hashing_config
        return self

    def use_sigstore_signer(  # noqa: PLR0913 - upstream's arguments
        self,
        *,
        oidc_issuer: str | None = None,
        use_ambient_credentials: bool = False,
        use_staging: bool = False,
        force_oob: bool = False,
        identity_token: str | None = None,
        client_id: str | None = None,
        client_secret: str | None = None,
        trust_config: PathLike | None = None,
    ) -> Self:
        """Sign through Sigstore, in the name that an identity token gives.

        The settings of this process count, too: what is not given here is taken from variables such as
        ``MODEL_SIGNING_IDENTITY_TOKEN_FILE`` and ``MODEL_SIGNING_INSTANCE``, as ``model-signing env`` lists them.

        Args:
            oidc_issuer: URL of the issuer where a person logs in; None for that of the instance.
            use_ambient_credentials: Ask no person. The identity of the environment is used anyway, where there is one.
            use_staging: Use the staging instance.
            force_oob: Have the person type a code, for a machine without a browser.
            identity_token: An OIDC token, which goes before all others.
            client_id: The name of this program to the issuer; None for ``sigstore``.
            client_secret: The secret to that name, if there is one.
            trust_config: ClientTrustConfig file of the Sigstore instance; None for that of the settings.

        Returns:
            This configuration.

        Raises:
            OSError: If the trust config cannot be read.
            ValueError: If there is no identity, or the instance cannot be used.

        Examples:
            >>> from model_signing_autosign import signing
            >>> config = signing.Config().use_sigstore_signer(use_staging=True)  # doctest: +SKIP
            >>> config.sign("model", "model.sig")  # doctest: +SKIP
        """
        self._signer = _core.Signer.sigstore(
            identity_token=identity_token or None,
            ambient=use_ambient_credentials,
            staging=use_staging,
            trust_config=None if trust_config is None else as_path(trust_config),
            oidc_issuer=oidc_issuer or None,
            force_oob=force_oob,
            client_id=client_id or None,
            client_secret=client_secret or None,
        )
        return self

    def use_elliptic_key_signer(self, *, private_key: PathLike, password: str | bytes | None = None) -> Self:
        """Sign with a key: ECDSA on P-256, P-384 or P-521.

        Args:
            private_key: PEM file with the key, which is read now; or the key itself, PEM text.
            password: What opens it, if it is encrypted.

        Returns:
            This configuration.

        Raises:
            OSError: If the file cannot be read.
            ValueError: If there is no such key in it, or the password does not open it.

        Examples:
            >>> from model_signing_autosign import signing
            >>> signing.Config().use_elliptic_key_signer(private_key="key.pem").sign("model", "model.sig")
        """
        secret = password.encode() if isinstance(password, str) else password
        self._signer = _core.Signer.key(as_path(private_key), password=secret)
        return self

    def use_certificate_signer(
        self,
        *,
        private_key: PathLike,
        signing_certificate: PathLike,
        certificate_chain: Iterable[PathLike],
    ) -> Self:
        """Sign with a key whose X.509 certificate names the signer.

        Args:
            private_key: PEM file with the key.
            signing_certificate: PEM file with the certificate for it.
            certificate_chain: PEM files with certificates of its issuers, which the signature carries along; may be
                none.

        Returns:
            This configuration.

        Raises:
            OSError: If a file cannot be read.
            ValueError: If key or certificate cannot be used, or do not belong together.

        Examples:
            >>> from model_signing_autosign import signing
            >>> config = signing.Config().use_certificate_signer(
            ...     private_key="leaf.key.pem", signing_certificate="leaf.pem", certificate_chain=["authority.pem"]
            ... )
            >>> config.sign("model", "model.sig")
        """
        self._signer = _core.Signer.certificate(
            as_path(private_key),
            password=None,
            signing_certificate=as_path(signing_certificate),
            certificate_chain=[as_path(path) for path in certificate_chain],
        )
        return self

    def use_pkcs11_signer(self, *, pkcs11_uri: str, module_paths: Iterable[PathLike] = frozenset()) -> Self:
        """Sign with a key on a PKCS #11 token: ECDSA on P-256, P-384 or P-521.

        Args:
            pkcs11_uri: What names the key and the module (RFC 7512).
            module_paths: Folders with modules, for a URI that names its module without a path; none for the usual ones.

        Returns:
            This configuration.

        Raises:
            OSError: If a file that the URI names cannot be read.
            ValueError: If the URI is none, or the token or the key cannot be used.

        Examples:
            >>> from model_signing_autosign import signing
            >>> config = signing.Config()
            >>> config.use_pkcs11_signer(pkcs11_uri="pkcs11:token=Models;object=key")  # doctest: +SKIP
        """
        self._signer = _core.Signer.pkcs11(pkcs11_uri, module_paths=[as_path(path) for path in module_paths])
        return self

    def use_pkcs11_certificate_signer(
        self,
        *,
        pkcs11_uri: str,
        signing_certificate: PathLike,
        certificate_chain: Iterable[PathLike],
        module_paths: Iterable[PathLike] = frozenset(),
    ) -> Self:
        """Sign with a key on a PKCS #11 token whose X.509 certificate names the signer.

        Args:
            pkcs11_uri: What names the key and the module (RFC 7512).
            signing_certificate: PEM file with the certificate for it.
            certificate_chain: PEM files with certificates of its issuers, which the signature carries along; may be
                none.
            module_paths: Folders with modules, for a URI that names its module without a path; none for the usual ones.

        Returns:
            This configuration.

        Raises:
            OSError: If a file cannot be read.
            ValueError: If the URI is none, or token, key or certificate cannot be used, or do not belong together.

        Examples:
            >>> from model_signing_autosign import signing
            >>> config = signing.Config().use_pkcs11_certificate_signer(  # doctest: +SKIP
            ...     pkcs11_uri="pkcs11:token=Models;object=key", signing_certificate="leaf.pem", certificate_chain=[]
            ... )
        """
        self._signer = _core.Signer.pkcs11_certificate(
            pkcs11_uri,
            module_paths=[as_path(path) for path in module_paths],
            signing_certificate=as_path(signing_certificate),
            certificate_chain=[as_path(path) for path in certificate_chain],
        )
        return self
