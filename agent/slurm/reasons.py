"""Every reason that Slurm gives for a job's wait (22.05, 24.11, 26.05): what is said to the user, and if it may pass.

Names: job_state_reason.c (22.05: slurm_protocol_defs.c). Sentences: what slurmctld writes in the place of a name
(state_desc). tests/field/slurm/test_reason_table.py reads the names that the installed library knows, and fails if one
is missing. A reason that is not listed is shown as it is.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

__all__ = ["REASONS", "Reason", "ReasonKind", "find_reason", "is_launch_failure"]

#: queue: its turn has not come; the reasons change at each look. wait: for something else that passes. limit: jobs
#: have to end first. stuck: it does not pass by itself. launch: Slurm could not start it, and holds it. ended: why a
#: job ended; a job that waits has no such reason.
ReasonKind = Literal["queue", "wait", "limit", "stuck", "launch", "ended"]


@dataclass(frozen=True)
class Reason:
    """What a reason means for a task. said: to the user."""

    kind: ReasonKind
    said: str

    @property
    def attention(self) -> bool:
        """True if a person has to act before the task can start."""
        return self.kind in {"stuck", "launch"}


_LIMIT_ITSELF = "A task that alone asks for more than the limit never starts."
_ASK_LESS = "It never starts like this: cancel it and ask for less."
_GROUPS: tuple[tuple[ReasonKind, str, str], ...] = (
    ("queue", "It waits in Slurm's queue for its turn and for free resources.", "None Priority Resources SchedDefer"),
    ("wait", "It waits for another job to end.", "Dependency"),
    ("wait", "Its earliest time to start has not come.", "BeginTime"),
    ("wait", "It waits for a free license.", "Licenses"),
    ("wait", "It waits for its reservation to begin or to have room.", "Reservation"),
    ("wait", "Nodes that it needs are down, drained, or reserved for others. It waits until they come back.",
     "ReqNodeNotAvail NodeDown FrontEndDown"),
    ("wait", "Its partition takes no jobs now. It waits until the site opens it.", "PartitionDown PartitionInactive"),
    ("wait", "No node fits its constraints now. It waits for one.", "Constraints"),
    ("wait", "Slurm is preparing its start, or cleaning up after an earlier one.",
     "Cleaning Prolog BurstBufferStageIn BlockFreeAction"),
    ("wait", "It waits for free burst buffers.", "BurstBufferResources"),
    ("wait", "It waits for the clusters of the federation to agree.", "FedJobLock"),
    ("wait", "It waits for power: the site limits what may run or be powered up.",
     "PowerNotAvail PowerReserved MaxPoweredUpNodes"),
    ("wait", "It waits for free communication ports or channels.", "MpiPortsBusy NvidiaImexChannels"),
    ("limit", "As many jobs run as may run at once. It waits until some end.",
     """AssociationJobLimit QOSJobLimit JobArrayTaskLimit AssocGrpJobsLimit AssocMaxJobsLimit QOSGrpJobsLimit
     QOSMaxJobsPerUserLimit MaxJobsPerAccount AssocGrpSubmitJobsLimit AssocMaxSubmitJobLimit QOSGrpSubmitJobsLimit
     QOSMaxSubmitJobPerUserLimit MaxSubmitJobsPerAccount"""),
    ("limit", f"Jobs of its account use all that they may use together. It waits until some end. {_LIMIT_ITSELF}",
     """AssociationResourceLimit AssocGrpCpuLimit AssocGrpMemLimit AssocGrpNodeLimit AssocGrpGRES AssocGrpLicense
     AssocGrpBB AssocGrpEnergy AssocGrpBilling AssocGrpUnknown"""),
    ("limit", f"Running jobs of its account are granted all the minutes that they may have. {_LIMIT_ITSELF}",
     """AssocGrpCPURunMinutesLimit AssocGrpMemRunMinutes AssocGrpNodeRunMinutes AssocGrpGRESRunMinutes
     AssocGrpLicenseRunMinutes AssocGrpBBRunMinutes AssocGrpEnergyRunMinutes AssocGrpBillingRunMinutes
     AssocGrpUnknownRunMinutes"""),
    ("limit", f"Jobs of its QOS use all that they may use together. It waits until some end. {_LIMIT_ITSELF}",
     """QOSResourceLimit QOSGrpCpuLimit QOSGrpMemLimit QOSGrpNodeLimit QOSGrpGRES QOSGrpLicense QOSGrpBB QOSGrpEnergy
     QOSGrpBilling QOSGrpUnknown"""),
    ("limit", f"Running jobs of its QOS are granted all the minutes that they may have. {_LIMIT_ITSELF}",
     """QOSGrpCPURunMinutesLimit QOSGrpMemoryRunMinutes QOSGrpNodeRunMinutes QOSGrpGRESRunMinutes
     QOSGrpLicenseRunMinutes QOSGrpBBRunMinutes QOSGrpEnergyRunMinutes QOSGrpBillingRunMinutes QOSGrpUnknownRunMinutes
     MaxBBRunMinsPerAccount MaxBillingRunMinsPerAccount MaxCpuRunMinsPerAccount MaxEnergyRunMinsPerAccount
     MaxGRESRunMinsPerAccount MaxNodeRunMinsPerAccount MaxLicenseRunMinsPerAccount MaxMemoryRunMinsPerAccount
     MaxUnknownRunMinsPerAccount MaxBBRunMinsPerUser MaxBillingRunMinsPerUser MaxCpuRunMinsPerUser
     MaxEnergyRunMinsPerUser MaxGRESRunMinsPerUser MaxNodeRunMinsPerUser MaxLicenseRunMinsPerUser
     MaxMemoryRunMinsPerUser MaxUnknownRunMinsPerUser"""),
    ("limit", f"Jobs of one user or account use all that its QOS lets them. It waits until some end. {_LIMIT_ITSELF}",
     """QOSMaxCpuPerUserLimit QOSMaxNodePerUserLimit QOSMaxMemoryPerUser QOSMaxEnergyPerUser QOSMaxGRESPerUser
     QOSMaxLicensePerUser QOSMaxBBPerUser QOSMaxBillingPerUser QOSMaxUnknownPerUser MaxCpuPerAccount MaxNodePerAccount
     MaxMemoryPerAccount MaxEnergyPerAccount MaxGRESPerAccount MaxLicensePerAccount MaxBBPerAccount
     MaxBillingPerAccount MaxUnknownPerAccount"""),
    ("stuck", "Its account has used up its budget. It starts only if the site raises or resets it, or old use expires.",
     """AssocGrpCPUMinutesLimit AssocGrpMemMinutes AssocGrpNodeMinutes AssocGrpGRESMinutes AssocGrpLicenseMinutes
     AssocGrpBBMinutes AssocGrpEnergyMinutes AssocGrpBillingMinutes AssocGrpUnknownMinutes AssocGrpWallLimit
     AssociationTimeLimit"""),
    ("stuck", "Its QOS has used up its budget. It starts only if the site raises or resets it, or old use expires.",
     """QOSGrpCPUMinutesLimit QOSGrpMemoryMinutes QOSGrpNodeMinutes QOSGrpGRESMinutes QOSGrpLicenseMinutes
     QOSGrpBBMinutes QOSGrpEnergyMinutes QOSGrpBillingMinutes QOSGrpUnknownMinutes QOSGrpWallLimit QOSTimeLimit
     QOSUsageThreshold"""),
    ("stuck", f"It asks for more than one job of its account may have. {_ASK_LESS}",
     """AssocMaxCpuPerJobLimit AssocMaxNodePerJobLimit AssocMaxMemPerJob AssocMaxGRESPerJob AssocMaxLicensePerJob
     AssocMaxBBPerJob AssocMaxEnergyPerJob AssocMaxBillingPerJob AssocMaxUnknownPerJob AssocMaxCpuPerNode
     AssocMaxMemPerNode AssocMaxGRESPerNode AssocMaxBBPerNode AssocMaxEnergyPerNode AssocMaxBillingPerNode
     AssocMaxUnknownPerNode MaxMemPerLimit"""),
    ("stuck", f"Its size times its time limit is more than one job of its account may have. {_ASK_LESS}",
     """AssocMaxCpuMinutesPerJobLimit AssocMaxMemMinutesPerJob AssocMaxNodeMinutesPerJob AssocMaxGRESMinutesPerJob
     AssocMaxLicenseMinutesPerJob AssocMaxBBMinutesPerJob AssocMaxEnergyMinutesPerJob AssocMaxBillingMinutesPerJob
     AssocMaxUnknownMinutesPerJob"""),
    ("stuck", f"It asks for more than one job of its QOS may have. {_ASK_LESS}",
     """QOSMaxCpuPerJobLimit QOSMaxNodePerJobLimit QOSMaxMemoryPerJob QOSMaxGRESPerJob QOSMaxLicensePerJob
     QOSMaxBBPerJob QOSMaxEnergyPerJob QOSMaxBillingPerJob QOSMaxUnknownPerJob QOSMaxCpuPerNode QOSMaxMemoryPerNode
     QOSMaxGRESPerNode QOSMaxBBPerNode QOSMaxEnergyPerNode QOSMaxBillingPerNode QOSMaxUnknownPerNode"""),
    ("stuck", f"Its size times its time limit is more than one job of its QOS may have. {_ASK_LESS}",
     """QOSMaxCpuMinutesPerJobLimit QOSMaxMemoryMinutesPerJob QOSMaxNodeMinutesPerJob QOSMaxGRESMinutesPerJob
     QOSMaxLicenseMinutesPerJob QOSMaxBBMinutesPerJob QOSMaxEnergyMinutesPerJob QOSMaxBillingMinutesPerJob
     QOSMaxUnknownMinutesPerJob"""),
    ("stuck", "It asks for less than a job of its QOS has to. It never starts like this: cancel it and ask for more.",
     """QOSMinCpuNotSatisfied QOSMinMemory QOSMinNode QOSMinGRES QOSMinLicense QOSMinBB QOSMinEnergy QOSMinBilling
     QOSMinUnknown"""),
    ("stuck", f"Its time limit is more than its partition, account or QOS allows. {_ASK_LESS}",
     "PartitionTimeLimit AssocMaxWallDurationPerJobLimit QOSMaxWallDurationPerJobLimit"),
    ("stuck", "Its partition does not allow a job of this size, or nodes that it needs there are away for long.",
     "PartitionNodeLimit PartitionConfig BlockMaxError"),
    ("stuck", "Its account or QOS is not valid, or not allowed in its partition.",
     "InvalidAccount InvalidQOS AccountNotAllowed QOSNotAllowed"),
    ("stuck", "A limit of the site keeps it, and Slurm does not say which.", "AccountingPolicy"),
    ("stuck", "Its reservation was deleted or is not valid.", "ReservationDeleted ReservationInvalid"),
    ("stuck", "No node can satisfy what it asks for.", "BadConstraints"),
    ("stuck", "It depends on a job that did not end as it had to.", "DependencyNeverSatisfied"),
    ("stuck", "It can no longer end before its deadline.", "DeadLine"),
    ("stuck", "Somebody holds it in Slurm: scontrol release lets it go.", "JobHeldUser"),
    ("stuck", "An administrator of the cluster holds it.", "JobHeldAdmin"),
    ("stuck", "Slurm has put it back so often that it holds it.", "JobHoldMaxRequeue"),
    ("stuck", "The burst buffer's preparation failed.", "BurstBufferOperation"),
    ("stuck", "Slurm could not start it.", "JobLaunchFailure"),
    ("ended", "Slurm, a file system or the network failed.", "SystemFailure"),
    ("ended", "It ended: Slurm says how.", "NonZeroExitCode RaisedSignal TimeLimit InactiveLimit OutOfMemory"),
)  # fmt: skip
REASONS = MappingProxyType({name: Reason(kind, said) for kind, said, names in _GROUPS for name in names.split()})

_HELD = Reason("launch", "Slurm could not start it, and holds it.")
# What slurmctld writes instead of a name, by how it begins, in lower case. Some versions write _ for a space.
_SENTENCES: tuple[tuple[str, Reason], ...] = (
    ("launch failed requeued held", _HELD),
    ("launch failure limit exceeded requeued held", _HELD),
    ("user env retrieval failed requeued held", _HELD),
    ("job requeued in held state", Reason("stuck", "Somebody put it back in Slurm, and holds it.")),
    ("job requeued in special exit state", Reason("stuck", "Slurm put it back, and holds it.")),
    ("nodes required for job are down", REASONS["ReqNodeNotAvail"]),
    ("reqnodenotavail", REASONS["ReqNodeNotAvail"]),
    ("required nodes", REASONS["ReqNodeNotAvail"]),
    ("no suitable topology", REASONS["Resources"]),
    ("insufficient resources in topology", REASONS["Resources"]),
    ("no available nodes in topology", REASONS["ReqNodeNotAvail"]),
    ("exceeded maximum node limit during topology", REASONS["PartitionNodeLimit"]),
    ("weight-based selection", REASONS["Resources"]),
    ("job's account", REASONS["AccountNotAllowed"]),
    ("job's qos", REASONS["QOSNotAllowed"]),
    ("uid ", Reason("stuck", "The agent's account may not use its partition.")),
    ("license request", Reason("stuck", "A license that it asks for is not valid any more, and Slurm holds it.")),
    ("could not find burst buffer", REASONS["BurstBufferOperation"]),
    ("error managing persistent burst buffer", REASONS["BurstBufferOperation"]),
    ("burst buffer", REASONS["BurstBufferOperation"]),
    ("burst_buffer/", REASONS["BurstBufferOperation"]),
    ("job is at or exceeds", Reason("ended", "Slurm ended it: a budget is used up.")),
    ("unable to load job", REASONS["SystemFailure"]),
    ("reservation ", Reason("ended", "Its reservation ended.")),
    ("raisedsignal", REASONS["RaisedSignal"]),
)
_LOWERED = {name.lower(): reason for name, reason in REASONS.items()}
_QUEUED = REASONS["None"]


def find_reason(text: str) -> Reason | None:
    """What a reason means, as squeue prints it, in any case; "" is None's. None: no version that was read has it."""
    plain = text.strip().lower()
    if found := _LOWERED.get(plain) if plain else _QUEUED:
        return found
    spaced = plain.replace("_", " ")
    return next((reason for start, reason in _SENTENCES if plain.startswith(start) or spaced.startswith(start)), None)


def is_launch_failure(text: str) -> bool:
    """True if a pending job's reason says that its launch failed, and that Slurm put it back and holds it."""
    reason = find_reason(text)
    return reason is not None and reason.kind == "launch"
