"""A certificate authority for development, and the certificates that it signs."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edgewise.clock import SECOND_NS, Clock


@dataclass(frozen=True, slots=True)
class Signed:
    """A certificate with its key, both PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """Made anew, and gone with the process unless somebody keeps ``own``."""

    def __init__(self, *, lasts_s: int, clock: Clock) -> None:
        """Make its key and its certificate."""
        now = datetime.fromtimestamp(clock.now_ns() / SECOND_NS, tz=UTC)
        # A day back: other machines' clocks differ.
        self._from, self._until = now - timedelta(days=1), now + timedelta(seconds=lasts_s)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named("Edgewise development CA")
        may = x509.BasicConstraints(ca=True, path_length=0)
        made = self._begun(self._name, self._key).add_extension(may, critical=True)
        made = made.add_extension(_usage(signs_certificates=True), critical=True)
        self._certificate = made.sign(self._key, hashes.SHA256())
        self.own = Signed(self._certificate.public_bytes(serialization.Encoding.PEM), _written(self._key))

    def sign(self, name: str, *, hosts: Sequence[str]) -> Signed:
        """Make a broker's certificate: by its ``name``, for clients that reach it at these hosts."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._begun(_named(name), key)
        made = made.add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
        made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        made = made.add_extension(_usage(signs_certificates=False), critical=True)
        # A Kafka is its own controller's client.
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        made = made.add_extension(x509.ExtendedKeyUsage(both), critical=False)
        certificate = made.sign(self._key, hashes.SHA256())
        return Signed(certificate.public_bytes(serialization.Encoding.PEM), _written(key))

    def _begun(self, name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder(issuer_name=self._name, subject_name=name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._from)
            .not_valid_after(self._until)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _written(key: ec.EllipticCurvePrivateKey) -> bytes:
    clear = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, clear)
