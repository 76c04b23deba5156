"""Kafka's users and what each may do, made by its administrator from a folder of secrets."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    KafkaAdminClient,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
    UserScramCredentialUpsertion,
)
from kafka.errors import KafkaError, NoError

from brokers.secured.rights import ADMIN, EVERYTHING, RIGHTS, Rights
from edgewise import security, topics
from edgewise.errors import ConfigError
from edgewise.kafka import access
from edgewise.topics import administration


def admit(address: str, folder: Path, *, partitions: int = topics.PARTITIONS) -> None:
    """Have Kafka know every part of the folder, let it do its work and nothing else, and have the topics.

    What is there already is made the same again: passwords that were changed in the folder count from now on, and
    rights that a part had before and should not have are taken away.

    Raises:
        UnreachableError, RefusedError: Kafka does not answer, or does not know this administrator.
        ConfigError: the folder is none of secrets.
    """
    with security.meanwhile(security.read(folder, part=ADMIN)):
        topics.ensure(address, partitions=partitions)
        with administration(address) as admin:
            try:
                _admit(admin, folder)
            except KafkaError as error:
                raise access.explained(address, error, hint=f"it did not take users and rights: {error}") from error


def _admit(admin: KafkaAdminClient, folder: Path) -> None:
    known = []
    for part in RIGHTS:
        found = security.read(folder, part=part).kafka
        if found is None:
            raise ConfigError(f"{folder / part / security.PROFILE} has no table [kafka]")
        known.append(UserScramCredentialUpsertion(found.user, access.MECHANISM, found.password()))
    refusals = {user: why for user, why in admin.alter_user_scram_credentials(known).items() if why is not None}
    allowed = {acl for part, rights in RIGHTS.items() for acl in _acls(part, rights)}
    # No part is ever without a right that it keeps: it would take that for a refusal, and end.
    failed = admin.create_acls(list(allowed))["failed"]
    beyond = [acl for part in RIGHTS for acl in _held(admin, part) if acl not in allowed]
    kept = [acl for acl, _, why in admin.delete_acls(beyond) if why is not NoError] if beyond else []
    if problems := refusals or failed or kept:
        raise KafkaError(f"{problems}")


def _held(admin: KafkaAdminClient, user: str) -> Sequence[ACL]:
    """Ask what a user may do now."""
    anything = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
    asked = ACLFilter(f"User:{user}", None, ACLOperation.ANY, ACLPermissionType.ANY, anything)
    found: Sequence[ACL] = admin.describe_acls(asked)[0]
    return found


def _acls(user: str, rights: Rights) -> Iterator[ACL]:
    allowed = (
        (ResourceType.TOPIC, EVERYTHING, ACLOperation.DESCRIBE),
        (ResourceType.TOPIC, rights.reads, ACLOperation.READ),
        (ResourceType.TOPIC, rights.writes, ACLOperation.WRITE),
        (ResourceType.GROUP, rights.groups, ACLOperation.READ),
        (ResourceType.GROUP, rights.looks, ACLOperation.DESCRIBE),
    )
    for kind, names, operation in allowed:
        for name in names:
            # Kafka's own star stands for all names, and is no beginning of any.
            beginning = name.endswith("*") and name != "*"
            match = ACLResourcePatternType.PREFIXED if beginning else ACLResourcePatternType.LITERAL
            pattern = ResourcePattern(kind, name.removesuffix("*") if beginning else name, match)
            yield ACL(f"User:{user}", "*", operation, ACLPermissionType.ALLOW, pattern)
