"""The gateway's own services on a real SQLite file, without HTTP; `GatewayLine` is how agents reach them."""

import asyncio
import hashlib
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from agent.errors import GatewayAwayError
from agent.uplink.client import RawCommands
from gateway.app import make_folders, open_database
from gateway.security_log import SecurityLog
from gateway.services.agents import Agents
from gateway.services.publisher import Publisher
from gateway.services.submissions import Submissions
from gateway.services.tasks import Tasks
from gateway.services.wake import Wake
from gateway.settings import GatewaySettings
from gateway.store import migrate
from gateway.store import tasks as rows
from gateway.store.commands import HoldKind
from gateway.store.keys import read_spool_key
from gateway.store.models import Agent
from gateway.store.users import add_user
from gateway.values import AgentIdentity, Upload, UploadedFile, User
from mltm.contract.agent_api import Ack, Answer, ReportBatch, ReportsAnswer
from mltm.contract.ids import TaskId
from mltm.contract.task_config import TaskConfig
from mltm.contract.user_api import TaskAnswer
from mltm.runtime.clock import Clock, read_utc_now

__all__ = ["GatewayLine", "GatewayPart"]

USER = User("alice", "user", "a" * 32)


class GatewayPart:
    """Opened on a folder; opening another on the same folder is a restart after a kill."""

    def __init__(self, folder: Path, agent: AgentIdentity, runner: asyncio.Runner, offset: list[float]) -> None:
        self.agent, self._runner = agent, runner
        self.settings = GatewaySettings(data_dir=folder / "gateway", min_free_bytes=0)
        make_folders(self.settings)
        self._clock, wake = Clock(now=lambda: read_utc_now() + timedelta(seconds=offset[0])), Wake()
        self._database = open_database(self.settings)
        self._database.run_now(_stop_syncing)
        self._database.call_now(_add_agent, agent)
        generation = self._database.call_now(migrate.read_generation)
        self._submissions = Submissions(self._database, self.settings, self._clock, wake)
        self._tasks = Tasks(self._database, self._clock, wake)
        self._publisher = Publisher(self._database, self.settings, self._clock, wake)
        self._security = SecurityLog(self.settings.security_log_path, self._clock.now)
        self.agents = Agents(
            self._database, self._clock, wake, self._security, generation=generation, name="test", gateway_id="g" * 32
        )

    def read_key(self) -> bytes:
        """The key of the agent's spool, which an enrolment gives it."""
        return self._database.call_now(lambda: read_spool_key(Agent.get_by_id(self.agent.agent_id)))

    def submit(self, config: TaskConfig, key: str) -> TaskId:
        """Hand a task in, once a key."""
        folder = self.settings.staging / self._clock.new_id()
        folder.mkdir()
        script = b"print('hello')\n"
        (folder / "script.py").write_bytes(script)
        name, digest = "script.py", hashlib.sha256(script).hexdigest()
        upload = Upload(config, UploadedFile(name, folder / name, len(script), digest), (), folder)
        return TaskId(self._runner.run(self._submissions.accept(USER, upload, key)).task.task_id)

    def publish(self) -> None:
        """Run what is due in the spools."""
        self._runner.run(self._publisher.run_once())

    def cancel(self, task_id: TaskId) -> None:
        """Ask for a task's cancel."""
        self._runner.run(self._tasks.request_cancel(USER, task_id))

    def ask_hold(self, task_id: TaskId, kind: HoldKind) -> None:
        """Ask that a task is held, or released."""
        self._runner.run(self._tasks.request_hold(USER, task_id, kind))

    def read_all(self) -> dict[str, TaskAnswer]:
        """What the user is shown of each task."""
        page = self._database.call_now(rows.list_tasks, USER, None, None, 100, self._clock.now())
        return {task.task_id: task for task in page.tasks}

    def close(self) -> None:
        """Close the file; nothing that was answered depends on it."""
        self._database.close()
        self._security.close()


def _stop_syncing(database: Any) -> None:
    database.execute_sql("pragma synchronous = off")  # this is not about power cuts


def _add_agent(agent: AgentIdentity) -> None:
    if Agent.get_or_none(Agent.agent_id == agent.agent_id) is None:
        add_user(USER.username, USER.role, None, datetime.fromisoformat("2026-11-23T12:00:00Z"), user_id=USER.user_id)
        Agent.create(
            agent_id=agent.agent_id, cluster=agent.cluster, inbox=str(agent.inbox), spool_id=agent.spool_id,
            credential_sha256="x", host="h", unix_user="u", version="1", enrolled_at="2026-11-23T12:00:00Z",
        )  # fmt: skip


class GatewayLine:
    """What the agent's reporter and poller take for their client. `fault`: `away`, or `lost` (done, and no answer)."""

    def __init__(self, agent: AgentIdentity) -> None:
        self.agent, self.fault = agent, ""
        self.gateway: GatewayPart | None = None

    def _reach(self) -> GatewayPart:
        if self.gateway is None or self.fault == "away":
            raise GatewayAwayError("The gateway does not answer.")
        return self.gateway

    def _answer(self) -> None:
        if self.fault == "lost":
            raise GatewayAwayError("The answer was lost.")

    async def send_reports(self, batch: ReportBatch) -> ReportsAnswer:
        answer = await self._reach().agents.store_reports(self.agent, batch)
        self._answer()
        return answer

    async def poll_commands(self, wait_s: float) -> RawCommands:
        answer = await self._reach().agents.open_commands(self.agent, wait_s)
        self._answer()
        return RawCommands.model_validate_json(answer.model_dump_json())

    async def acknowledge(self, command_id: str, ack: Ack) -> Answer:
        answer = await self._reach().agents.acknowledge(self.agent, command_id, ack)
        self._answer()
        return answer
