"""The agent's credential file. Mode 0600; it is read again for every call, so that it can be replaced."""

import stat
from pathlib import Path

from pydantic import Field, ValidationError

from agent.errors import SettingsError
from mltm.contract.base_models import Message
from mltm.runtime import files
from mltm.runtime.clock import Clock

__all__ = ["Credential", "read_credential", "write_credential"]


class Credential(Message):
    """What the gateway gave at the enrolment."""

    agent_id: str
    credential: str = Field(min_length=1, repr=False)
    cluster: str
    owner: str
    gateway_name: str
    gateway_id: str = ""  #: "": enrolled at an old gateway, which had only a name
    gateway_url: str = ""  #: where it was enrolled; "": by version 0.1


def read_credential(path: Path) -> Credential:
    """Read the credential. Raises SettingsError, which says what is wrong with the file and what to do."""
    enrol = "Enrol this agent: mltm-agent enroll --gateway URL --code CODE."
    try:
        raw = files.read_bytes(path)
        if raw is None:
            raise SettingsError(f"There is no credential file {path}.", next_step=enrol)
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise SettingsError(f"Others can read the credential file {path}.", next_step=f"Run: chmod 600 {path}")
        return Credential.model_validate_json(raw)
    except OSError as error:
        raise SettingsError(f"Cannot read the credential file {path}: {error.strerror}.", next_step=enrol) from error
    except ValidationError as error:  # its text would show the secret
        raise SettingsError(
            f"The credential file {path} was not written by `mltm-agent enroll`.", next_step=enrol
        ) from error


def write_credential(path: Path, credential: Credential, clock: Clock) -> None:
    """Write the credential, complete or not at all, with mode 0600. Raises SettingsError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.replace(path, credential.model_dump_json().encode() + b"\n", clock.nonce(), mode=0o600)
    except OSError as error:
        raise SettingsError(
            f"Cannot write the credential file {path}: {error.strerror}.",
            next_step="Set credential_file in the config to another path.",
        ) from error
