"""Enrols this agent at a gateway with a one-time code, and binds the spool to that gateway."""

import os
import pwd
import socket

from agent.errors import SettingsError
from agent.settings import AgentSettings
from agent.spool.gateway_binding import bind_gateway
from agent.spool.setup import prepare_spool
from agent.spool.spool_key import read_spool_key, write_spool_key
from agent.uplink.address import build_tls, check_gateway_url
from agent.uplink.client import enrol, open_session
from agent.uplink.credential import Credential, write_credential
from agent.uplink.heartbeat import read_version
from mltm.contract.agent_api import Enrolled, Enrolment
from mltm.contract.proofs import prove_enrolment
from mltm.runtime.clock import Clock

__all__ = ["enrol_agent", "read_unix_user"]


async def enrol_agent(settings: AgentSettings, url: str, code: str) -> Enrolled:
    """Use the code, and write the credential.

    Raises SettingsError, SpoolError, GatewayAwayError, GatewayRefusedError, RevokedError.
    """
    clock = Clock()
    identity = prepare_spool(settings, clock)
    key, url = read_spool_key(identity.spool), check_gateway_url(url, may_be_plain=settings.allow_plain_http)
    request = Enrolment(
        code=code,
        host=socket.gethostname(),
        unix_user=read_unix_user(),
        spool_id=identity.spool_id,
        version=read_version(),
        proof=prove_enrolment(key, identity.spool_id, code.strip()) if key is not None else "",
    )
    async with open_session() as session:
        enrolled = await enrol(session, url, request, build_tls(settings.ca_file))
    if enrolled.cluster != settings.cluster:
        raise SettingsError(
            f"The code is for cluster {enrolled.cluster!r}, but the config file says {settings.cluster!r}.",
            next_step="Correct `cluster` in the config file, or get a code for this cluster. Then enrol again.",
        )
    bind_gateway(identity.spool, enrolled, clock)
    if enrolled.spool_key:
        write_spool_key(identity.spool, enrolled.spool_key, clock)
    kept = Credential.model_validate({**enrolled.model_dump(exclude={"generation", "spool_key"}), "gateway_url": url})
    write_credential(settings.credential_file, kept, clock)
    return enrolled


def read_unix_user() -> str:
    """Read the user of this process from its uid: getpass.getuser() would believe LOGNAME and USER."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
