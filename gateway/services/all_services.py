"""All services of one gateway as one value: what an endpoint may call."""

from dataclasses import dataclass

from gateway.security_log import SecurityLog
from gateway.services.agents import Agents
from gateway.services.cluster_files import ClusterFiles
from gateway.services.guesses import Guesses
from gateway.services.health import HealthCheck
from gateway.services.lanes import Lanes
from gateway.services.submissions import Submissions
from gateway.services.tasks import Tasks
from gateway.services.users import Users

__all__ = ["Services"]


@dataclass(frozen=True)
class Services:
    """They share one database, one clock and one set of wake-ups. Who opened them closes them (`gateway.app`)."""

    users: Users
    submissions: Submissions
    tasks: Tasks
    agents: Agents
    cluster_files: ClusterFiles
    health: HealthCheck
    guesses: Guesses
    lanes: Lanes
    security: SecurityLog
