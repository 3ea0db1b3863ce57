"""Renders the lab's configuration files (pure). What each line is for stands beside the line that needs a reason."""

from lab.slurm.layout import CLUSTER, CPUS_PER_NODE, DATABASE, NODES, Lab


def render_slurm_conf(lab: Lab, user: str, version: tuple[int, int]) -> str:
    """Return `slurm.conf` for a lab run by Unix user `user`."""
    parts = [_render_daemons(lab, user), _render_jobs(lab), _render_accounting(lab), _render_nodes(lab)]
    if version >= (24, 5):
        parts.append("CredType=cred/munge")  # the old key CryptoType is gone, and some builds default elsewhere
    return "\n".join(parts) + "\n"


# config_overrides: the nodes are larger than the machine that plays them.
_SLURMD = "SlurmdParameters=config_overrides"


def _render_daemons(lab: Lab, user: str) -> str:
    """Own ports and folders, so that labs stand side by side; ReturnToService: a node that was killed comes back."""
    folder, run = lab.dir, lab.run_dir
    return f"""\
ClusterName={CLUSTER}
SlurmctldHost=localhost
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={lab.ports.slurmctld}
AuthType=auth/munge
AuthInfo=socket={lab.munge_socket}
StateSaveLocation={folder}/state
SlurmdSpoolDir={run}/spool/%n
SlurmctldPidFile={run}/slurmctld.pid
SlurmdPidFile={run}/slurmd-%n.pid
SlurmctldLogFile={lab.log_of("slurmctld")}
SlurmdLogFile={lab.log_dir}/slurmd-%n.log
SlurmctldDebug=info
SlurmdDebug=info
ReturnToService=2
SlurmdTimeout={lab.options.slurmd_timeout_s}
{_SLURMD}
MailProg=/bin/true
MpiDefault=none"""


def _render_jobs(lab: Lab) -> str:
    """What differs from Slurm's defaults, each with its reason. All else is as at a site that sets nothing."""
    lines = [
        # No cgroups: a lab runs in containers and for ordinary users, where there are none to be had.
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        "SwitchType=switch/none",
        # The default from 23.02 on; 22.05's (linear) gives whole nodes and counts no GPUs.
        "SelectType=select/cons_tres",
        "SchedulerType=sched/backfill",
        # By default a test would wait for each look of the scheduler, half a minute long.
        "SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1",
        # Ended jobs are forgotten, and stopped ones killed, while a test waits; by default 300 s and 30 s.
        f"MinJobAge={lab.options.min_job_age_s}",
        f"KillWait={lab.options.kill_wait_s}",
        "GresTypes=gpu",
    ]
    if lab.options.enforce_part_limits:
        lines.append("EnforcePartLimits=ALL")
    if lab.options.over_memory_kill:
        lines += [
            # Memory is counted, and what uses more is killed: by default, and without cgroups, nothing looks.
            "SelectTypeParameters=CR_Core_Memory",
            "DefMemPerCPU=500",
            "JobAcctGatherType=jobacct_gather/linux",
            "JobAcctGatherFrequency=task=1",
            "JobAcctGatherParams=OverMemoryKill",
        ]
    else:
        # CR_Core: tests give no memory, and by default (CR_Core_Memory from 23.02 on) each job would take a whole node.
        lines += ["SelectTypeParameters=CR_Core", "JobAcctGatherType=jobacct_gather/none"]
    return "\n".join(lines)


def _render_accounting(lab: Lab) -> str:
    if not lab.options.accounting:
        return "AccountingStorageType=accounting_storage/none"
    # AccountingStoragePass: without it sacct and sacctmgr look for munge's socket in /run/munge.
    return f"""\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort={lab.ports.slurmdbd}
AccountingStoragePass={lab.munge_socket}
AccountingStorageEnforce=associations,limits,qos"""  # the default enforces nothing: there would be no limits to test


def _render_nodes(lab: Lab) -> str:
    shape = f"CPUs={CPUS_PER_NODE} Boards=1 SocketsPerBoard=1 CoresPerSocket={CPUS_PER_NODE} ThreadsPerCore=1"
    lines = [
        f"NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} {shape} RealMemory=4000"
        + (" Gres=gpu:2" if name == NODES[-1] else "")
        for name, port in zip(NODES, lab.ports.slurmd, strict=True)
    ]
    everywhere = ",".join(NODES)
    lines.append(f"PartitionName=cpu Nodes={everywhere} Default=YES MaxTime=1-00:00:00 State=UP")
    lines.append(f"PartitionName=gpu Nodes={NODES[-1]} MaxTime=1-00:00:00 State=UP")
    return "\n".join(lines)


def render_gres_conf() -> str:
    """Return `gres.conf`: two GPUs that are harmless device files (22.05 counts none without a file)."""
    return "".join(f"NodeName={NODES[-1]} Name=gpu File={file}\n" for file in ("/dev/null", "/dev/zero"))


def render_cgroup_conf(version: tuple[int, int]) -> str:
    """Return `cgroup.conf`: without it a slurmd looks for a cgroup file system, and does not start if there is none.

    22.05 cannot be told to do without; of its plugins v1 is the one that asks nothing of the machine before it is used.
    """
    return "CgroupPlugin=disabled\n" if version >= (23, 2) else "CgroupPlugin=cgroup/v1\n"


def render_slurmdbd_conf(lab: Lab, user: str) -> str:
    """Return `slurmdbd.conf`; the database's socket comes by the environment (MYSQL_UNIX_PORT)."""
    return f"""\
DbdHost=localhost
DbdPort={lab.ports.slurmdbd}
SlurmUser={user}
AuthType=auth/munge
AuthInfo=socket={lab.munge_socket}
PidFile={lab.run_dir}/slurmdbd.pid
LogFile={lab.log_of("slurmdbd")}
DebugLevel=info
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc={DATABASE}
"""
